"""Hardware profiles: compute units, memory tiers and links, every number with its source."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from simulator.config.units import Bytes, BytesPerSecond, FlopsPerSecond, Nanoseconds
from simulator.config.yaml_file import find_named, read_yaml

T = TypeVar("T")
TierName = Literal["gpu", "cpu", "ssd"]
LinkName = Literal["cpu_to_gpu", "gpu_to_cpu", "ssd_to_cpu", "ssd_to_gpu"]
Share = Annotated[float, Field(gt=0, le=1, strict=True)]
Count = Annotated[int, Field(gt=0, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sourced(_Strict, Generic[T]):
    """A number, where it is from, and whether it was measured on such a machine."""

    value: T
    source: Annotated[str, Field(min_length=3)]
    measured: StrictBool


class ComputeUnit(_Strict):
    """A GPU or CPU: data-sheet rates, and the share of them that kernels reach.

    ``launch`` is what starting one kernel (or one task of the thread pool) costs.
    ``dequantise_bandwidth`` counts bytes of quantised weights; without it dequantising is free.
    """

    flops: Sourced[FlopsPerSecond]
    memory_bandwidth: Sourced[BytesPerSecond]
    compute_efficiency: Sourced[Share]
    bandwidth_efficiency: Sourced[Share]
    launch: Sourced[Nanoseconds]
    dequantise_bandwidth: Sourced[BytesPerSecond] | None = None

    @property
    def effective_flops_per_s(self) -> int:
        """Return flops times compute efficiency, rounded down, at least 1."""
        return scaled(self.flops.value, self.compute_efficiency.value)

    @property
    def effective_bytes_per_s(self) -> int:
        """Return memory bandwidth times bandwidth efficiency, rounded down, at least 1."""
        return scaled(self.memory_bandwidth.value, self.bandwidth_efficiency.value)


def scaled(rate: int, share: float) -> int:
    """Return a rate times a share, rounded down, at least 1."""
    return max(1, int(rate * Fraction(str(share))))


class Compute(_Strict):
    """The units that compute; the main one is named by the profile."""

    gpu: ComputeUnit | None = None
    cpu: ComputeUnit | None = None


class GpuMemory(_Strict):
    """Memory of the GPU (or unified memory); ``reserved`` is lost to driver, display and system."""

    capacity: Sourced[Bytes]
    reserved: Sourced[Bytes]

    @model_validator(mode="after")
    def _leaves_something(self) -> GpuMemory:
        if self.reserved.value >= self.capacity.value:
            raise ValueError(f"reserved {self.reserved.value} B of {self.capacity.value} B leaves nothing")
        return self


class CpuMemory(GpuMemory):
    """DRAM; ``bandwidth`` is what links that read DRAM and CPU compute share."""

    bandwidth: Sourced[BytesPerSecond]


class Storage(_Strict):
    """Flash: holds everything."""

    capacity: Sourced[Bytes]


class Tiers(_Strict):
    """Memories, fastest first; unified memory is ``gpu`` without ``cpu``."""

    gpu: GpuMemory | None = None
    cpu: CpuMemory | None = None
    ssd: Storage | None = None

    @property
    def names(self) -> tuple[TierName, ...]:
        """Return the tiers that there are, fastest first."""
        order: tuple[TierName, ...] = ("gpu", "cpu", "ssd")
        return tuple(name for name in order if getattr(self, name) is not None)


class TableRow(_Strict):
    """What all lanes together reach when ``lanes`` of them move blocks of this size."""

    block: Bytes
    lanes: Count
    bandwidth: BytesPerSecond


class Link(_Strict):
    """One way between neighbouring tiers; docs/timing.md §5 and §6 say what each number does.

    ``bandwidth`` is that of all lanes together, ``lane_bandwidth`` that of one lane alone (absent:
    the same). ``table`` replaces both. ``split``: one expert's bytes are spread over the lanes.
    ``copy_after_read``: rate at which a lane copies what it read before it counts as landed.
    ``pageable`` host memory adds a CPU copy at ``host_copy_bandwidth``.
    """

    bandwidth: Sourced[BytesPerSecond]
    latency: Sourced[Nanoseconds]
    chunk: Sourced[Bytes] | None = None
    lanes: Sourced[Count] | None = None
    lane_bandwidth: Sourced[BytesPerSecond] | None = None
    table: Sourced[tuple[TableRow, ...]] | None = None
    split: StrictBool = False
    read_align: Sourced[Bytes] | None = None
    copy_after_read: Sourced[BytesPerSecond] | None = None
    host_memory: Literal["pinned", "pageable"] = "pinned"
    host_copy_bandwidth: Sourced[BytesPerSecond] | None = None
    reads_dram: StrictBool = False

    @model_validator(mode="after")
    def _rates_agree(self) -> Link:
        rates = {
            "bandwidth": self.bandwidth,
            "lane_bandwidth": self.lane_bandwidth,
            "copy_after_read": self.copy_after_read,
            "host_copy_bandwidth": self.host_copy_bandwidth,
        }
        for name, rate in rates.items():
            if rate is not None and rate.value == 0:
                raise ValueError(f"{name} is 0; more than 0 B/s")
        if self.lane_bandwidth and self.lane_bandwidth.value > self.bandwidth.value:
            raise ValueError("lane_bandwidth is above bandwidth; one lane alone reaches at most the total")
        if self.table:
            rows = [(row.block, row.lanes) for row in self.table.value]
            if not rows or len(set(rows)) < len(rows) or any(row.bandwidth == 0 for row in self.table.value):
                raise ValueError(
                    "table is empty, or has a row twice or of 0 B/s; one row per block and lanes"
                )
        if (self.host_memory == "pageable") != (self.host_copy_bandwidth is not None):
            raise ValueError(
                "host_copy_bandwidth and host_memory disagree; pageable needs it, pinned has none"
            )
        return self


class HardwareProfile(_Strict):
    """A machine: what computes, where bytes can be, and how they move."""

    name: str
    title: str
    notes: str = ""
    main: Literal["gpu", "cpu"]
    compute: Compute
    tiers: Tiers
    links: dict[LinkName, Link]

    @model_validator(mode="after")
    def _fits_together(self) -> HardwareProfile:
        tiers = self.tiers.names
        if tiers[:1] != (self.main,) or tiers[1:] == ():
            raise ValueError(
                f"tiers are {', '.join(tiers) or 'none'} and main is {self.main}; "
                "two or more tiers, the first that of the main unit"
            )
        for unit in ("gpu", "cpu"):
            if (unit in tiers) != (getattr(self.compute, unit) is not None):
                raise ValueError(f"compute.{unit} and tiers.{unit} go together; give both or neither")
        up = {f"{slow}_to_{fast}" for fast, slow in pairwise(tiers)}
        down = {"gpu_to_cpu"} if "cpu_to_gpu" in up else set()
        if wrong := set(self.links) - up - down:
            raise ValueError(
                f"link {min(wrong)} joins no neighbouring tiers of {', '.join(tiers)}; "
                f"links are {', '.join(sorted(up | down))}"
            )
        if lacking := (up | down) - set(self.links):
            raise ValueError(f"link {min(lacking)} is missing; links are {', '.join(sorted(up | down))}")
        return self

    @property
    def main_unit(self) -> ComputeUnit:
        """Return the unit that runs the model."""
        unit = self.compute.gpu if self.main == "gpu" else self.compute.cpu
        return cast("ComputeUnit", unit)

    @property
    def doubts(self) -> list[str]:
        """Return the lines of ``notes`` that a reader of results must know: what calibration could not do."""
        return [line for line in self.notes.splitlines() if line.startswith(("Not measured: ", "WARNING: "))]


def load_hardware(name_or_path: str) -> HardwareProfile:
    """Return a profile by its name in hardware_profiles/ or by a path; InputError if it is wrong."""
    from simulator.machine.compose import Described, described

    document = read_yaml(find_named("hardware_profiles", name_or_path))
    if "parts" in document.data:
        return described(document.validate(Described), str(document.path))
    return document.validate(HardwareProfile)
