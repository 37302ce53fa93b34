"""Software profiles: what an engine's code costs beyond bytes and flops, every number with its source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, model_validator

from simulator.config.units import BytesPerSecond, Nanoseconds
from simulator.config.yaml_file import find_named, load_yaml
from simulator.machine.hardware import Share, Sourced, _Strict
from simulator.model.precision import canonical

NotNegative = Annotated[int, Field(ge=0, strict=True)]
DEFAULT = "default"


def _by_precision(shares: dict[str, float]) -> dict[str, float]:
    if DEFAULT not in shares:
        raise ValueError(f"no {DEFAULT}; the share of every precision that is not named")
    return {name if name == DEFAULT else canonical(name): share for name, share in shares.items()}


Efficiency = Annotated[dict[str, Share], AfterValidator(_by_precision)]
"""Share of the data sheet's bandwidth that kernels reach, by precision of the weights."""


class Kernels(_Strict):
    """Launches of each operation; ``experts``: for all chosen ones of a layer, ``expert``: for each."""

    attention: NotNegative
    gate: NotNegative
    shared: NotNegative
    dense_ffn: NotNegative
    embedding: NotNegative
    head: NotNegative
    experts: NotNegative
    expert: NotNegative
    combine: NotNegative


class Issue(_Strict):
    """How work gets to the GPU; docs/timing.md §11.

    ``call`` is the host's time of a launch, ``per_pass`` what it spends on a pass beside. ``start`` is the
    GPU's time of a launch, ``node`` that of a node of a graph. With graphs, what lies between two layers that
    the host sees is one launch. ``graphs_beside_absent``: also where some experts are not on the GPU.
    """

    call: Sourced[Nanoseconds]
    per_pass: Sourced[Nanoseconds]
    start: Sourced[Nanoseconds]
    kernels: Sourced[Kernels]
    graphs: Literal["none", "decode", "always"] = "none"
    graphs_beside_absent: StrictBool = False
    node: Sourced[Nanoseconds] | None = None
    sees_routing: Literal["always", "absent", "never"] = "absent"

    @model_validator(mode="after")
    def _graphs_have_nodes(self) -> Issue:
        if (self.graphs == "none") != (self.node is None):
            raise ValueError("node and graphs disagree; a node's time goes with graphs other than none")
        return self


class Books(_Strict):
    """What the host spends on finding out what to do: a round trip, and each lookup, miss and eviction."""

    round_trip: Sourced[Nanoseconds]
    lookup: Sourced[Nanoseconds]
    miss: Sourced[Nanoseconds]
    evict: Sourced[Nanoseconds]


class Copies(_Strict):
    """How experts are copied: ``calls`` each, from what memory, and whether the host waits for them.

    ``host_copy_bandwidth`` is that of the CPU's own copy out of pageable memory. ``activations`` is the
    host's time of sending a layer's activations to the CPU.
    """

    call: Sourced[Nanoseconds]
    calls: Sourced[NotNegative]
    memory: Literal["pinned", "pageable"] = "pinned"
    host_copy_bandwidth: Sourced[BytesPerSecond] | None = None
    blocking: StrictBool = False
    activations: Sourced[Nanoseconds]

    @model_validator(mode="after")
    def _pageable_is_copied(self) -> Copies:
        if (self.memory == "pageable") != (self.host_copy_bandwidth is not None):
            raise ValueError("host_copy_bandwidth and memory disagree; pageable needs it, pinned has none")
        if self.host_copy_bandwidth is not None and self.host_copy_bandwidth.value == 0:
            raise ValueError("host_copy_bandwidth is 0; more than 0 B/s")
        return self


class Unpack(_Strict):
    """Weights that are unpacked to FP16 before the product: bytes moved a weight, and launches an expert."""

    bytes_per_weight: Sourced[Annotated[float, Field(gt=0, strict=True)]]
    launches: Sourced[NotNegative]


class GpuKernels(_Strict):
    """Shares of the data sheet's memory bandwidth that the GPU's kernels reach."""

    experts: Sourced[Efficiency]
    dense: Sourced[Share]


class CpuExperts(_Strict):
    """Experts on the CPU: operations a layer, each on all chosen ones at once, and what kernels reach."""

    operation: Sourced[Nanoseconds]
    operations: Sourced[NotNegative]
    efficiency: Sourced[Efficiency]


class SoftwareProfile(_Strict):
    """An engine's code. A section that is absent costs what the hardware profile says, as in ``ideal``."""

    name: str
    title: str
    notes: str = ""
    issue: Issue | None = None
    books: Books | None = None
    copies: Copies | None = None
    unpack: Unpack | None = None
    gpu_kernels: GpuKernels | None = None
    cpu_experts: CpuExperts | None = None


def efficiency(shares: dict[str, float], precision: str) -> float:
    """Return the share of a precision."""
    return shares.get(precision, shares[DEFAULT])


def load_software(name_or_path: str) -> SoftwareProfile:
    """Return a profile by its name in software_profiles/ or by a path; InputError if it is wrong."""
    return load_yaml(find_named("software_profiles", name_or_path), SoftwareProfile)
