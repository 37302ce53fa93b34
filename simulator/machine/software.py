"""Software profiles: what an engine's code costs beyond bytes and flops, every number with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, model_validator

from simulator.config.paths import anchored
from simulator.config.units import BytesPerSecond, Nanoseconds
from simulator.config.yaml_file import find_named, read_yaml, validate_mapping
from simulator.errors import InputError
from simulator.machine.hardware import Share, Sourced, _Strict
from simulator.model.precision import canonical

NotNegative = Annotated[int, Field(ge=0, strict=True)]
DEFAULT = "default"
IDEAL = "ideal"  # bytes, flops and links only


def _by_precision(shares: dict[str, float]) -> dict[str, float]:
    if DEFAULT not in shares:
        raise ValueError(f"no {DEFAULT}; the share of every precision that is not named")
    found = {name if name == DEFAULT else canonical(name): share for name, share in shares.items()}
    if len(found) < len(shares):
        raise ValueError("a precision twice, in other letters; each once")
    return found


Efficiency = Annotated[dict[str, Share], AfterValidator(_by_precision)]
"""Share of the data sheet's bandwidth that kernels reach, by precision of the weights."""


class Kernels(_Strict):
    """Launches of each operation; ``experts``: for all chosen ones of a layer, ``expert``: for each.

    ``absent_experts`` replaces ``experts`` in layers that lack some on the GPU.
    """

    attention: NotNegative
    gate: NotNegative
    shared: NotNegative
    dense_ffn: NotNegative
    embedding: NotNegative
    head: NotNegative
    experts: NotNegative
    expert: NotNegative
    absent_experts: NotNegative | None = None
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

    ``host_copy_bandwidth`` is that of the CPU's own copy out of pageable memory. ``write_back: in_line``:
    where tiers are exclusive, each load swaps out as many bytes, and compute waits for that. ``activations``
    is the host's time of sending a layer's activations to the CPU.
    """

    call: Sourced[Nanoseconds]
    calls: Sourced[NotNegative]
    memory: Literal["pinned", "pageable"] = "pinned"
    host_copy_bandwidth: Sourced[BytesPerSecond] | None = None
    blocking: StrictBool = False
    write_back: Literal["beside", "in_line"] = "beside"
    activations: Sourced[Nanoseconds]

    @model_validator(mode="after")
    def _pageable_is_copied(self) -> Copies:
        if (self.memory == "pageable") != (self.host_copy_bandwidth is not None):
            raise ValueError("host_copy_bandwidth and memory disagree; pageable needs it, pinned has none")
        if self.host_copy_bandwidth is not None and self.host_copy_bandwidth.value == 0:
            raise ValueError("host_copy_bandwidth is 0; more than 0 B/s")
        return self


class Unpack(_Strict):
    """Quantised weights that are unpacked before the product: bytes moved a weight, and launches.

    ``launches`` are of an expert, ``dense_launches`` of a layer's attention.
    ``weights``: all that are quantised, or only the experts of layers that lack some on the GPU.
    """

    weights: Literal["all", "absent"]
    bytes_per_weight: Sourced[Annotated[float, Field(gt=0, strict=True)]]
    launches: Sourced[NotNegative]
    dense_launches: Sourced[NotNegative]


class GpuKernels(_Strict):
    """Shares of the data sheet's memory bandwidth that the GPU's kernels reach."""

    experts: Sourced[Efficiency]
    dense: Sourced[Share]


class CpuExperts(_Strict):
    """Experts on the CPU: operations a layer, each on all chosen ones at once, and what kernels reach.

    ``efficiency`` is of the data sheet's bandwidth, ``compute_efficiency`` of its flops (absent: as the
    hardware profile says).
    """

    operation: Sourced[Nanoseconds]
    operations: Sourced[NotNegative]
    efficiency: Sourced[Efficiency]
    compute_efficiency: Sourced[Share] | None = None


class SoftwareProfile(_Strict):
    """An engine's code. A section that is absent costs what the hardware profile says, as in ``ideal``."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
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
    """Return a profile by its name in software_profiles/ or by a path; InputError if it is wrong.

    A file that says ``extends: NAME`` (or a path, from its own folder) has what differs from that profile.
    """
    document = read_yaml(find_named("software_profiles", name_or_path))
    if "extends" not in document.data:
        return document.validate(SoftwareProfile)
    own = dict(document.data)
    where = f"{document.path}:{document.lines[('extends',)]}: extends"
    data = _base(own.pop("extends"), document.path.parent, where)
    if "name" not in own:
        raise InputError(str(document.path), "name: missing", "a name of its own")
    for key, value in own.items():
        inner = data.get(key)
        data[key] = inner | value if isinstance(inner, dict) and isinstance(value, dict) else value
    return validate_mapping(data, SoftwareProfile, str(document.path), document.lines)


def _base(name: object, folder: Path, where: str) -> dict[str, Any]:
    """Return what a profile that is extended says; it is whole, and valid by itself."""
    if not isinstance(name, str) or not name:
        raise InputError(where, f"{name!r}", "the name or path of a software profile")
    try:
        base = read_yaml(find_named("software_profiles", anchored(name, folder, ("software",))))
    except InputError as error:
        raise InputError(where, f"{error.where}: {error.what}", error.hint) from None
    if "extends" in base.data:
        raise InputError(where, f"{name} extends another itself", "a profile that says everything")
    base.validate(SoftwareProfile)
    return dict(base.data)
