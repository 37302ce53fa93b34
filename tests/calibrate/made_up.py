"""A plan that takes no time, and what a machine and a GPU might have measured.

No test asserts a time: only how measurements become numbers, on made-up ones, and the structure of real ones.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.calibrate.drive import LaneTimes
from simulator.calibrate.expert import ExpertTimes
from simulator.calibrate.gpu import Gpu
from simulator.calibrate.measure import Measured, Plan
from simulator.calibrate.sample import Sample
from simulator.calibrate.system import System

KIB, MIB = 1 << 10, 1 << 20
TINY = Plan(
    file_bytes=MIB,
    blocks=(4 * KIB, 64 * KIB),
    lanes=(1, 2),
    reads=2,
    dram_bytes=MIB,
    shapes=((32, 32), (64, 64)),
    gpu_shapes=((32, 32), (64, 64)),
    tokens=(1, 4),
    expert_bytes=MIB,
    repeats=2,
)


def exactly(value: float) -> Sample:
    return Sample(value, value, value, 3)


def made_up(gpu: Gpu | None = None) -> Measured:
    """Reads of 1 MiB in 1 ms by one, 1.6 ms by two; experts at 10 GB/s, 50 GFLOP/s, 30 us of launches."""
    plan = replace(TINY, blocks=(MIB,), lanes=(1, 2))
    drive = LaneTimes(exactly(1e-4), {(MIB, 1): exactly(1e-3), (MIB, 2): exactly(1.6e-3)})
    experts = {(size, 1): exactly(30e-6 + size / 1e10) for size in (MIB, 2 * MIB, 4 * MIB)}
    experts[4 * MIB, 16] = exactly(30e-6 + 2 * MIB * 16 / 50e9)  # 2 flops a weight of 4 bytes
    return Measured(
        plan=plan,
        system=System("a processor", 4, 16 << 30, 2 << 30, 0.1),
        threads=4,
        drive=drive,
        drive_bytes=10**12,
        dram={1: exactly(10e9), 2: exactly(18e9)},
        experts=ExpertTimes(experts, exactly(1e-3)),
        contention=(1.25, 1.1),
        gpu=gpu,
    )


def a_gpu() -> Gpu:
    """Copies of 10 us + bytes at 20 GB/s up and 10 GB/s down; experts at 15 us, 1 TB/s, 100 TFLOP/s."""

    def copies(rate: float) -> dict[tuple[bool, int], Sample]:
        small, large = 64 * KIB, 128 * MIB
        at = {small: small / (10e-6 + small / rate), large: rate}
        return {(pin, n): exactly(r if pin else r / 2) for n, r in at.items() for pin in (True, False)}

    sizes = (6 * MIB, 60 * MIB)
    experts = {("float16", size, 1): exactly(15e-6 + size / 1e12) for size in sizes}
    return Gpu(
        name="a GPU",
        version="torch 9, CUDA 9",
        real=True,
        memory_bytes=80 << 30,
        free_bytes=79 << 30,
        launch=exactly(4e-6),
        up=copies(20e9),
        down=copies(10e9),
        device_copy=exactly(2e12),
        experts=experts | {("float16", sizes[1], 2048): exactly(15e-6 + sizes[1] * 2048 / 1e14)},
        dequantise=exactly(3e11),
        dense=exactly(99e-6),
        dense_bytes=50_000_000,
        beside=1.02,
    )
