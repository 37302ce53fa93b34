"""What is measured of a GPU and its link to the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.calibrate.dense import DENSE_MATRICES
from simulator.calibrate.device import Device
from simulator.calibrate.drive import LaneTimes
from simulator.calibrate.gpu_bench import Bench
from simulator.calibrate.sample import Sample
from simulator.config.units import format_bytes
from simulator.errors import InputError

PRECISIONS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class Gpu:
    """What was measured, of a GPU (``real``) or in a rehearsal; rates in bytes/s by size, times in seconds.

    ``up`` and ``down`` [pinned?, size] are copies to and from the device; ``experts`` by
    (precision, bytes, tokens), each waited for; ``beside`` how many times longer a pinned copy up takes
    beside experts; ``dequantise`` int4 to float16, by bytes of int4; ``dense`` a layer's products in
    float16 of the widest shape, ``dense_bytes`` of them; ``lanes`` copies up by threads that wait for each,
    where they were measured.
    """

    name: str
    version: str
    real: bool
    memory_bytes: int
    free_bytes: int
    launch: Sample
    up: dict[tuple[bool, int], Sample]
    down: dict[tuple[bool, int], Sample]
    device_copy: Sample
    experts: dict[tuple[str, int, int], Sample]
    dequantise: Sample
    dense: Sample
    dense_bytes: int
    beside: float
    lanes: LaneTimes | None = None


def measure_gpu(
    device: Device, shapes: Sequence[tuple[int, int]], tokens: Sequence[int], *, repeats: int
) -> Gpu:
    """Measure a device. Errors: InputError (too little free memory)."""
    sizes = device.sizes
    free, total = device.memory()
    if free < sizes.needed:
        raise InputError(
            "--gpu",
            f"{format_bytes(free)} of GPU memory are free, {format_bytes(sizes.needed)} needed",
            "stop what uses it",
        )
    bench = Bench(device, repeats)
    bench.warm_up(shapes[0])
    experts = {
        (name, *key): sample
        for name in PRECISIONS
        for key, sample in bench.experts(shapes, (*tokens, sizes.many), getattr(device.torch, name)).items()
    }
    pinned, hidden = (True, False), max(hidden for hidden, _ in shapes)
    return Gpu(
        name=device.name,
        version=device.version,
        real=device.cuda,
        memory_bytes=total,
        free_bytes=free,
        launch=bench.launch(),
        up={(pin, n): bench.copy(n, up=True, pinned=pin) for pin in pinned for n in sizes.copies},
        down={(pin, n): bench.copy(n, up=False, pinned=pin) for pin in pinned for n in sizes.copies},
        device_copy=bench.device_copy(sizes.copies[-1]),
        experts=experts,
        dequantise=bench.dequantise(sizes.copies[-1]),
        dense=bench.dense(hidden),
        dense_bytes=DENSE_MATRICES * hidden * hidden * 2,
        beside=bench.beside(sizes.copies[-1], shapes[-1]),
    )
