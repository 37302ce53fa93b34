"""The catalogues of parts that a machine is put together from, every number with its source."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field, model_validator

from simulator import data
from simulator.config.units import Bytes, BytesPerSecond, FlopsPerSecond, Nanoseconds
from simulator.config.yaml_file import read_yaml, validate_mapping
from simulator.errors import InputError, did_you_mean
from simulator.machine.hardware import Count, Share, Sourced, TableRow, _Strict

P = TypeVar("P", bound="Part")


class Part(_Strict):
    """A part that can be bought. A number without a source of its own has the part's, and is not measured."""

    NOT_NUMBERS: ClassVar[frozenset[str]] = frozenset({"title", "source"})
    title: str
    source: Annotated[str, Field(min_length=7)]

    @property
    def says(self) -> str:
        """Return its numbers in a few words."""
        raise NotImplementedError

    @model_validator(mode="before")
    @classmethod
    def _each_number_has_its_source(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        source = given.get("source")
        return {
            key: value
            if key in cls.NOT_NUMBERS or isinstance(value, dict) or key not in cls.model_fields
            else {"value": value, "source": source, "measured": False}
            for key, value in given.items()
        }


class Gpu(Part):
    """A graphics card. ``flops``: dense FP16 on tensor cores, sums in fp32; ``slot``: its widest link.

    ``copies`` is what copies from pinned memory reached over that slot; ``display``: a screen may hang on it.
    """

    NOT_NUMBERS = Part.NOT_NUMBERS | {"slot", "display"}
    memory: Sourced[Bytes]
    bandwidth: Sourced[BytesPerSecond]
    flops: Sourced[FlopsPerSecond]
    slot: str
    display: bool = True
    copies: Sourced[BytesPerSecond] | None = None

    @property
    def says(self) -> str:
        """Return memory, its bandwidth, compute and slot."""
        return (
            f"{_gb(self.memory)}, {_gb(self.bandwidth)}/s, {self.flops.value / 1e12:g} TFLOP/s, {self.slot}"
        )


class Host(Part):
    """A processor with its board: 64-bit channels, kinds of memory with the official rate, and PCIe slot.

    ``flops_per_cycle`` counts fp32 operations of one core; ``clock`` is in MHz, with all cores at work.
    ``bandwidth_efficiency`` is the share of the memory's peak that expert kernels reached on it.
    """

    NOT_NUMBERS = Part.NOT_NUMBERS | {"memory", "slot", "server"}
    cores: Sourced[Count]
    clock: Sourced[Count]
    flops_per_cycle: Sourced[Count]
    channels: Sourced[Count]
    memory: tuple[str, ...]
    slot: str
    server: bool = False
    bandwidth_efficiency: Sourced[Share] | None = None

    @property
    def says(self) -> str:
        """Return cores, channels, kinds of memory and slot."""
        kinds = " or ".join(self.memory)
        return f"{self.cores.value} cores, {self.channels.value} channels of {kinds}, {self.slot}"


class Wire(Part):
    """What joins host and GPU; ``generation`` and ``lanes`` of PCIe are what both ends must have at least."""

    NOT_NUMBERS = Part.NOT_NUMBERS | {"lanes", "generation"}
    bandwidth: Sourced[BytesPerSecond]
    generation: Count | None = None
    lanes: Count | None = None

    @property
    def says(self) -> str:
        """Return the rate of copies."""
        return f"{_gb(self.bandwidth)}/s"


class Drive(Part):
    """A drive. ``table``: what it reached by block size and by reads under way, instead of ``bandwidth``."""

    bandwidth: Sourced[BytesPerSecond]
    latency: Sourced[Nanoseconds] | None = None
    lanes: Sourced[Count] | None = None
    table: Sourced[tuple[TableRow, ...]] | None = None

    @property
    def says(self) -> str:
        """Return the rate of large reads."""
        return f"{_gb(self.bandwidth)}/s" + (", and by block size" if self.table else "")


class Unified(Part):
    """A machine whose processor and GPU share one memory; only its drive can be swapped."""

    memory: Sourced[Bytes]
    bandwidth: Sourced[BytesPerSecond]
    flops: Sourced[FlopsPerSecond]
    bandwidth_efficiency: Sourced[Share] | None = None
    launch: Sourced[Nanoseconds] | None = None
    reserved: Sourced[Bytes] | None = None

    @property
    def says(self) -> str:
        """Return memory, its bandwidth and compute."""
        return f"{_gb(self.memory)}, {_gb(self.bandwidth)}/s, {self.flops.value / 1e12:g} TFLOP/s"


def _gb(number: Sourced[int]) -> str:
    """Return a size or rate in GB; whole GiB, as memory is sold, too."""
    whole = number.value % 2**30 == 0
    return f"{number.value / (2**30 if whole else 1e9):g} GB"


class Rules(_Strict):
    """What no data sheet says: one constant each, the same for all parts, with its source."""

    gpu_compute_efficiency: Sourced[Share]
    gpu_bandwidth_efficiency: Sourced[Share]
    gpu_launch: Sourced[Nanoseconds]
    gpu_reserved: Sourced[Bytes]
    gpu_reserved_without_display: Sourced[Bytes]
    unified_bandwidth_efficiency: Sourced[Share]
    unified_reserved: Sourced[Bytes]
    cpu_compute_efficiency: Sourced[Share]
    cpu_bandwidth_efficiency: Sourced[Share]
    cpu_bandwidth_efficiency_of_server: Sourced[Share]
    cpu_launch: Sourced[Nanoseconds]
    cpu_launch_alone: Sourced[Nanoseconds]
    cpu_reserved: Sourced[Bytes]
    cpu_reserved_of_server: Sourced[Bytes]
    dram_share: Sourced[Share]
    link_latency: Sourced[Nanoseconds]
    link_chunk: Sourced[Bytes]
    drive_capacity: Sourced[Bytes]
    drive_latency: Sourced[Nanoseconds]
    drive_chunk: Sourced[Bytes]


KINDS: dict[str, type[Part]] = {
    "gpu": Gpu,
    "host": Host,
    "machine": Unified,
    "link": Wire,
    "drive": Drive,
}
"""The kinds of parts that have a catalogue in hardware_parts/, by their key in a composition."""


@cache
def catalogue(kind: str) -> dict[str, Part]:
    """Return all parts of a kind by name."""
    path = data.folder("hardware_parts") / f"{kind}s.yaml"
    found = read_yaml(path)
    return {name: validate_mapping(part, KINDS[kind], f"{path}: {name}") for name, part in found.data.items()}


@cache
def rules() -> Rules:
    """Return the constants that hold for all parts."""
    return read_yaml(data.folder("hardware_parts") / "rules.yaml").validate(Rules)


def part(name: str, model: type[P], where: str) -> P:
    """Return a part by its name and kind. Errors: InputError with the names that are near."""
    kind = next(kind for kind, one in KINDS.items() if one is model)
    known = catalogue(kind)
    found = known.get(name.lower())
    if found is None:
        sizes = [one for one in known if one.startswith(f"{name.lower()}-")]
        near = f"did you mean {' or '.join(sizes[:4])}?" if sizes else did_you_mean(name.lower(), known)
        hint = near if near.startswith("did you mean") else ""
        raise InputError(
            f"{where}.{kind}", f"unknown part '{name[:60]}'", f"{hint} (moesim list parts)".strip()
        )
    assert isinstance(found, model)
    return found
