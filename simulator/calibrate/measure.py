"""A calibration: what is measured, in which sizes, and the order of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from simulator.calibrate.contention import measure_contention
from simulator.calibrate.device import Device
from simulator.calibrate.dram import measure_dram
from simulator.calibrate.drive import LaneTimes, measure_drive
from simulator.calibrate.expert import ExpertTimes, measure_experts
from simulator.calibrate.gpu import Gpu, measure_gpu
from simulator.calibrate.sample import Sample
from simulator.calibrate.scratch import check_folder, scratch_file
from simulator.calibrate.system import System, this_system

KIB, MIB = 1 << 10, 1 << 20
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: ``shapes`` are (hidden, ffn) of experts, ``lanes`` reader threads.

    ``blocks`` are in steps of 2 from 64 KiB on, since a read between two is charged at the smaller one's
    rate. A GPU has ``gpu_shapes``: below some MiB an expert is launches only, and says nothing of a rate.

    ``dram_bytes`` are a thread's, ``expert_bytes`` those of all experts of one shape.
    """

    file_bytes: int = 2048 * MIB
    blocks: tuple[int, ...] = (4 * KIB, 16 * KIB, *(64 * KIB << i for i in range(9)))
    lanes: tuple[int, ...] = (1, 2, 4, 8)
    reads: int = 32
    dram_bytes: int = 256 * MIB
    shapes: tuple[tuple[int, int], ...] = ((512, 512), (1024, 1024), (2048, 1408), (4096, 1536))
    gpu_shapes: tuple[tuple[int, int], ...] = ((1024, 1024), (2048, 1408), (4096, 1536), (4096, 14336))
    tokens: tuple[int, ...] = (1, 4, 16, 64)
    expert_bytes: int = 512 * MIB
    threads: int | None = None
    repeats: int = 7


QUICK = Plan(
    file_bytes=256 * MIB,
    blocks=(4 * KIB, 64 * KIB, MIB, 4 * MIB),
    lanes=(1, 2, 4),
    reads=8,
    dram_bytes=64 * MIB,
    shapes=((256, 256), (512, 512), (1024, 1024)),
    gpu_shapes=((2048, 1408), (4096, 14336)),
    tokens=(1, 16),
    expert_bytes=128 * MIB,
    repeats=3,
)


REHEARSAL = replace(
    QUICK,
    file_bytes=16 * MIB,
    blocks=(4 * KIB, 64 * KIB),
    lanes=(1, 2),
    dram_bytes=MIB,
    shapes=((64, 64), (128, 128)),
    gpu_shapes=((32, 32), (64, 64)),
    expert_bytes=MIB,
)
"""Shows that the lines run where there is no GPU; its numbers say nothing."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a calibration found; ``contention`` has the slowdown of (experts, reads) beside each other.

    ``drive_bytes`` are its file system's. Where no drive was asked for there is no ``drive``.
    """

    plan: Plan
    system: System
    threads: int
    drive: LaneTimes | None
    drive_bytes: int
    dram: dict[int, Sample]
    experts: ExpertTimes
    contention: tuple[float, float] | None
    gpu: Gpu | None = None


def measure(
    plan: Plan, folder: Path | None, *, device: Device | None = None, say: Say = lambda _: None
) -> Measured:
    """Measure this machine: the drive of ``folder`` and the GPU ``device`` where there is one.

    ``say`` is told what comes next. Errors: InputError (see ``scratch`` and ``gpu``).
    """
    system = this_system()
    plan = replace(plan, dram_bytes=_copied(plan, system))
    threads = min(plan.threads or system.cores, system.cores)
    gpu = drive = contention = None
    if folder is not None:
        check_folder(folder, plan.file_bytes)  # before minutes of measuring something else
    if device is not None:
        say("GPU")
        gpu = measure_gpu(device, plan.gpu_shapes, plan.tokens, repeats=plan.repeats)
    with threadpool_limits(threads):
        if folder is not None:
            drive, contention = _drive(plan, folder, say)
        say("DRAM")
        dram = measure_dram(_powers(system.cores), plan.dram_bytes, repeats=plan.repeats)
        say("experts on the CPU")
        experts = measure_experts(plan.shapes, plan.tokens, repeats=plan.repeats, budget=plan.expert_bytes)
    total = 0 if folder is None else shutil.disk_usage(folder).total
    return Measured(plan, system, threads, drive, total, dram, experts, contention, gpu)


def _drive(plan: Plan, folder: Path, say: Say) -> tuple[LaneTimes, tuple[float, float]]:
    """Measure a drive, alone and beside the CPU."""
    n_bytes, lanes, repeats = plan.file_bytes, plan.lanes, plan.repeats
    with scratch_file(folder, n_bytes) as fd:
        say("drive")
        drive = measure_drive(fd, n_bytes, plan.blocks, lanes, reads=plan.reads, repeats=repeats)
        say("drive and CPU beside each other")
        block, shape = plan.blocks[-1], plan.shapes[0]
        return drive, measure_contention(fd, n_bytes, block, lanes[-1], shape, repeats=repeats)


def _powers(n: int) -> list[int]:
    """Return 1, 2, 4 ... up to ``n``, and ``n``."""
    return sorted({*(1 << i for i in range(n.bit_length())), n})


def _copied(plan: Plan, system: System) -> int:
    """Return the bytes a thread copies: as planned, but all together a quarter of the free memory at most."""
    free = system.memory_bytes - system.used_bytes
    return max(MIB, min(plan.dram_bytes, free // (8 * system.cores)))
