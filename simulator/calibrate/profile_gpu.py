"""The part of a profile that is the GPU's: unit, memory and links to the host."""

from __future__ import annotations

from simulator.assemble.code import IDEAL
from simulator.calibrate.entries import EFFICIENCY, Entry, entry, share_entry, size_entry, us
from simulator.calibrate.expert import roofline
from simulator.calibrate.gpu import PRECISIONS, Gpu
from simulator.calibrate.profile_lanes import lane_samples, lanes_link
from simulator.calibrate.sample import Sample, worst
from simulator.config.units import format_bytes
from simulator.engine.plan import NS_PER_S


def gpu_unit(gpu: Gpu) -> Entry:
    """Return the GPU as a compute unit, at float16.

    Rate and launch are one line through the sizes: a rate of the largest expert alone has its launches in
    it, which the engine then adds once more.
    """
    halves = _at(gpu, "float16")
    rate, flops, fixed = roofline(halves, 2, fastest=gpu.device_copy.median)
    size, tokens = max(halves)
    largest = {p: max(found) for p in PRECISIONS if (found := [k for k in _at(gpu, p) if k[1] == 1])}
    each = "; ".join(f"{format_bytes(k[0])} in {p} take {us(_at(gpu, p)[k])}" for p, k in largest.items())
    how = "SwiGLU in PyTorch, each waited for, weights beyond the caches"
    steady = worst({format_bytes(b): s for (b, t), s in halves.items() if t == 1})
    return {
        "flops": entry(f"{flops:.0f} FLOP/s", f"{how}, float16, {tokens} tokens: {us(halves[size, tokens])}"),
        "memory_bandwidth": entry(
            f"{gpu.device_copy.median:.0f} B/s",
            f"copies within the device, read + written, {gpu.device_copy.text(1e9, 'GB/s')}",
        ),
        "compute_efficiency": EFFICIENCY,
        "bandwidth_efficiency": share_entry(
            rate / gpu.device_copy.median,
            f"{how}: line through the sizes in float16, 1 token, {rate / 1e9:.4g} GB/s; {steady}; {each}",
        ),
        "launch": entry(
            f"{fixed / IDEAL.expert * NS_PER_S:.0f} ns",
            f"the same line at 0 bytes (5 kernels and a wait), over 3 matrix products; {steady}; "
            f"an addition of 1 number in a row: {us(gpu.launch)}",
        ),
        "dequantise_bandwidth": entry(
            f"{gpu.dequantise.median:.0f} B/s",
            "int4 to float16 in PyTorch, kernel by kernel, bytes of int4: a fused kernel is faster; "
            f"{gpu.dequantise.text(1e9, 'GB/s')}",
        ),
    }


def dense_note(gpu: Gpu) -> str:
    """Return what a layer's dense products took, beside what rate and launch of the profile make of them."""
    rate, _, fixed = roofline(_at(gpu, "float16"), 2, fastest=gpu.device_copy.median)
    charged = gpu.dense_bytes / rate + fixed / IDEAL.expert * IDEAL.attention
    return (
        f"A layer's dense products ({format_bytes(gpu.dense_bytes)} in float16) take {us(gpu.dense)}; "
        f"at the experts' rate and launch they are charged {charged * 1e6:.4g} us."
    )


def _at(gpu: Gpu, precision: str) -> dict[tuple[int, int], Sample]:
    return {key[1:]: s for key, s in gpu.experts.items() if key[0] == precision}


def gpu_memory(gpu: Gpu) -> Entry:
    """Return the GPU's memory."""
    return {
        "capacity": size_entry(gpu.memory_bytes, "as CUDA says"),
        "reserved": size_entry(
            gpu.memory_bytes - gpu.free_bytes, "not free when it was measured, as CUDA says"
        ),
    }


def gpu_links(gpu: Gpu, reads: int) -> Entry:
    """Return both ways between host and GPU; up is a table where threads were measured, ``reads`` each."""
    up = _link(gpu.up)
    if gpu.lanes is not None:
        how = f"copies from pinned memory, each thread on a stream that it waits for, {reads} a thread"
        up = {**lanes_link(gpu.lanes, how), "reads_dram": True}
    return {"cpu_to_gpu": up, "gpu_to_cpu": _link(gpu.down)}


def fastest_link(gpu: Gpu) -> float:
    """Return the most bytes/s that a copy between host and GPU reached: DRAM reaches that too."""
    lanes = [] if gpu.lanes is None else [gpu.lanes.bandwidth(*key) for key in gpu.lanes.busy]
    return max([s.median for s in (*gpu.up.values(), *gpu.down.values())] + lanes)


def _link(copies: dict[tuple[bool, int], Sample]) -> Entry:
    """Return one way between host and GPU, from pinned memory."""
    sizes = sorted({size for _, size in copies})
    best = copies[True, sizes[-1]]
    small = copies[True, sizes[0]]
    latency = max(0.0, sizes[0] / small.median - sizes[0] / best.median)

    def by_size(*, pinned: bool) -> str:
        return ", ".join(f"{format_bytes(n)}: {copies[pinned, n].text(1e9, 'GB/s')}" for n in sizes)

    return {
        "bandwidth": entry(
            f"{best.median:.0f} B/s", f"pinned {by_size(pinned=True)}; pageable {by_size(pinned=False)}"
        ),
        "latency": entry(
            f"{latency * NS_PER_S:.0f} ns",
            f"pinned {format_bytes(sizes[0])} in a row, less its bytes at that rate",
        ),
        "reads_dram": True,
    }


def gpu_samples(gpu: Gpu) -> dict[str, Sample]:
    """Return the samples by what was measured, for warnings."""
    kinds = {True: "pinned", False: "pageable"}
    return {
        "launches": gpu.launch,
        "copies within the GPU": gpu.device_copy,
        "dequantisation": gpu.dequantise,
        "dense products": gpu.dense,
        **{f"{kinds[p]} copies of {format_bytes(n)} to the GPU": s for (p, n), s in gpu.up.items()},
        **{f"{kinds[p]} copies of {format_bytes(n)} from the GPU": s for (p, n), s in gpu.down.items()},
        **{
            f"experts of {format_bytes(b)} in {p} with {n} tokens on the GPU": s
            for (p, b, n), s in gpu.experts.items()
        },
        **(lane_samples(gpu.lanes, "copies to the GPU") if gpu.lanes else {}),
    }
