"""The part of a profile that is the GPU's: unit, memory and links to the host."""

from __future__ import annotations

from simulator.calibrate.entries import EFFICIENCY, Entry, entry, size_entry, us
from simulator.calibrate.gpu import Gpu
from simulator.calibrate.sample import Sample
from simulator.config.units import format_bytes
from simulator.engine.plan import NS_PER_S


def gpu_unit(gpu: Gpu) -> Entry:
    """Return the GPU as a compute unit; FLOP/s and bandwidth at float16."""
    halves = {key[1:]: s for key, s in gpu.experts.items() if key[0] == "float16"}
    size, tokens = max(halves)
    flops = size * tokens / halves[size, tokens].median  # 2 flops a weight of 2 bytes
    alone = halves[size, 1]
    reached = size / alone.median
    share = min(1.0, reached / gpu.device_copy.median)
    return {
        "flops": entry(
            f"{flops:.0f} FLOP/s", f"SwiGLU, float16, {tokens} tokens: {us(halves[size, tokens])}"
        ),
        "memory_bandwidth": entry(
            f"{gpu.device_copy.median:.0f} B/s",
            f"copies within the device, read + written: {gpu.device_copy.text(1e9, 'GB/s')}",
        ),
        "compute_efficiency": EFFICIENCY,
        "bandwidth_efficiency": {
            "value": round(share, 4),
            "measured": True,
            "source": f"SwiGLU of {format_bytes(size)}, float16, 1 token: {us(alone)}",
        },
        "launch": entry(
            f"{gpu.launch.median * NS_PER_S:.0f} ns", f"an addition of 1 number: {us(gpu.launch)}"
        ),
    }


def gpu_memory(gpu: Gpu) -> Entry:
    """Return the GPU's memory."""
    return {
        "capacity": size_entry(gpu.memory_bytes, "as CUDA says"),
        "reserved": size_entry(
            gpu.memory_bytes - gpu.free_bytes, "not free when it was measured, as CUDA says"
        ),
    }


def gpu_link(copies: dict[tuple[bool, int], Sample]) -> Entry:
    """Return one way between host and GPU, from pinned memory."""
    sizes = sorted({size for _, size in copies})
    best = copies[True, sizes[-1]]
    small = copies[True, sizes[0]]
    latency = max(0.0, sizes[0] / small.median - sizes[0] / best.median)

    def bysize_entry(*, pinned: bool) -> str:
        return ", ".join(f"{format_bytes(n)}: {copies[pinned, n].text(1e9, 'GB/s')}" for n in sizes)

    return {
        "bandwidth": entry(
            f"{best.median:.0f} B/s",
            f"pinned {bysize_entry(pinned=True)}; pageable {bysize_entry(pinned=False)}",
        ),
        "latency": entry(
            f"{latency * NS_PER_S:.0f} ns",
            f"pinned {format_bytes(sizes[0])} in a row, less its bytes at that rate",
        ),
        "reads_dram": True,
    }
