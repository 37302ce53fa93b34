"""A made-up software profile with every section, as a file's mapping; and how tests vary it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from simulator.machine.software import SoftwareProfile


def made(value: object) -> dict[str, Any]:
    """Return a number with a source."""
    return {"value": value, "source": "made up", "measured": False}


KERNELS = {
    "attention": 4, "gate": 2, "shared": 3, "dense_ffn": 5, "embedding": 1, "head": 2, "experts": 6,
    "expert": 7, "combine": 8, "absent_experts": 10,
}  # fmt: skip
FULL: dict[str, Any] = {
    "name": "full",
    "title": "every section",
    "issue": {
        "call": made("10 us"),
        "per_pass": made("1 ms"),
        "start": made("3 us"),
        "kernels": made(KERNELS),
        "sees_routing": "always",
    },
    "books": {
        "round_trip": made("20 us"),
        "lookup": made("1 us"),
        "miss": made("2 us"),
        "evict": made("4 us"),
    },
    "copies": {
        "call": made("30 us"),
        "calls": made(3),
        "memory": "pageable",
        "host_copy_bandwidth": made("10 GB/s"),
        "blocking": True,
        "activations": made("40 us"),
    },
    "unpack": {
        "bytes_per_weight": made(2.5),
        "launches": made(9),
        "dense_launches": made(5),
        "weights": "all",
    },
    "gpu_kernels": {"experts": made({"default": 0.5, "Q4_0": 0.25}), "dense": made(0.6)},
    "cpu_experts": {
        "operation": made("50 us"),
        "operations": made(3),
        "efficiency": made({"default": 0.2, "Q4_0": 0.1}),
    },
}
GRAPHS = {"issue.graphs": "decode", "issue.node": made("2 us"), "issue.graphs_beside_absent": True}


def profile(changes: dict[str, Any] | None = None) -> SoftwareProfile:
    """Return the profile with dotted keys set; None takes a key away."""
    data = copy.deepcopy(FULL)
    for key, value in (changes or {}).items():
        *path, last = key.split(".")
        inner = data
        for part in path:
            inner = inner[part]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return SoftwareProfile.model_validate(data)


def numbers(found: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Iterate over the sourced numbers of a profile's mapping, each with its dotted key."""
    if isinstance(found, dict):
        if "source" in found:
            yield path, found
        for key, inner in found.items():
            yield from numbers(inner, f"{path}.{key}".lstrip("."))
