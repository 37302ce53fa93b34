"""From measurements to a hardware profile: every number with how it was measured, what is doubtful said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from simulator.calibrate.gpu import Gpu
from simulator.calibrate.measure import Measured
from simulator.calibrate.sample import WIDE, Sample
from simulator.calibrate.system import BUSY
from simulator.config.units import format_bytes
from simulator.config.yaml_file import validate_mapping
from simulator.engine.costs import LAUNCHES
from simulator.engine.plan import NS_PER_S
from simulator.hardware import HardwareProfile

Entry = dict[str, Any]
REACHED = "1 by definition: the rate beside it is the one that was reached"
EFFICIENCY = {"value": 1.0, "measured": True, "source": REACHED}


def profile(measured: Measured, name: str) -> HardwareProfile:
    """Return what was measured as a profile named ``name``."""
    return validate_mapping(_data(measured, name), HardwareProfile, f"calibration {name}")


def warnings(m: Measured) -> list[str]:
    """Return what makes the numbers doubtful, one line each."""
    said = []
    if m.system.load > BUSY:
        said.append(f"the machine was busy (load average {m.system.load:.1f} a core): measure again when it rests")
    samples = {
        "read latency": m.drive.alone,
        **{f"reads of {format_bytes(b)} by {n}": s for (b, n), s in m.drive.busy.items()},
        **{f"DRAM copies by {n}": s for n, s in m.dram.items()},
        **{f"experts of {format_bytes(b)} with {n} tokens": s for (b, n), s in m.experts.float32.items()},
    }
    wide = [f"{what} {s.spread:.0%}" for what, s in samples.items() if s.spread > WIDE]
    if wide:
        said.append(f"quartiles more than {WIDE:.0%} of the median apart: {', '.join(wide)}")
    return said


def _data(m: Measured, name: str) -> Entry:
    tiers: Entry = {"cpu": _dram(m), "ssd": {"capacity": _size(m.drive_bytes, "size of the file system")}}
    compute: Entry = {"cpu": _cpu(m)}
    links: Entry = {"ssd_to_cpu": _drive(m)}
    if m.gpu is not None:
        compute = {"gpu": _gpu_unit(m.gpu), **compute}
        tiers = {"gpu": _gpu_memory(m.gpu), **tiers}
        links = {
            "cpu_to_gpu": _gpu_link(m.gpu, m.gpu.up),
            "gpu_to_cpu": _gpu_link(m.gpu, m.gpu.down),
            **links,
        }
    return {
        "name": name,
        "title": f"{m.gpu.name + ', ' if m.gpu else ''}{m.system.processor}, {m.system.cores} cores (measured)",
        "notes": " ".join(_notes(m)),
        "main": "gpu" if m.gpu else "cpu",
        "compute": compute,
        "tiers": tiers,
        "links": links,
    }


def _notes(m: Measured) -> list[str]:
    slower, longer = m.contention
    versions = f"{m.system.versions}{', ' + m.gpu.version if m.gpu else ''}"
    notes = [
        f"Measured by moesim calibrate on {datetime.now(UTC):%Y-%m-%d} ({versions}), load average "
        f"{m.system.load:.2f} a core at the start, {m.threads} compute threads.",
        f"Beside each other an expert takes {slower:.2f} times as long and a read {longer:.2f} times "
        "(not in the numbers below).",
    ]
    if m.gpu is not None:
        notes.append(f"A copy to the GPU takes {m.gpu.beside:.2f} times as long beside experts.")
    notes.append("Not measured: dequantisation (absent below, so free), dense layers (as experts by bytes).")
    return notes + [f"WARNING: {line}." for line in warnings(m)]


def _cpu(m: Measured) -> Entry:
    rate, flops, launch = m.experts.roofline(LAUNCHES["expert"])
    sizes = {size for size, _ in m.experts.float32}
    one = m.experts.float32[max(sizes), 1]
    many = m.experts.float32[max(m.experts.float32)]
    how = f"SwiGLU in numpy, float32, {m.threads} threads, weights beyond the caches"
    return {
        "flops": _entry(f"{flops:.0f} FLOP/s", f"{how}: {_us(many)} with {max(m.experts.float32)[1]} tokens"),
        "memory_bandwidth": _entry(
            f"{rate:.0f} B/s",
            f"{how}: line through {len(sizes)} sizes with 1 token; {format_bytes(max(sizes))} take {_us(one)}; "
            f"stored as float16 and converted {_us(m.experts.float16)}",
        ),
        "compute_efficiency": EFFICIENCY,
        "bandwidth_efficiency": EFFICIENCY,
        "launch": _entry(f"{launch * NS_PER_S:.0f} ns", "the same line at 0 bytes, over 3 matrix products"),
    }


def _dram(m: Measured) -> Entry:
    best = max(m.dram, key=lambda n: m.dram[n].median)
    by_threads = ", ".join(f"{n}: {s.text(1e9, 'GB/s')}" for n, s in m.dram.items())
    return {
        "capacity": _size(m.system.memory_bytes, "physical pages, as the system says"),
        "reserved": _size(m.system.used_bytes, "in use when it was measured, as the system says"),
        "bandwidth": _entry(
            f"{m.dram[best].median:.0f} B/s",
            f"numpy copies of {format_bytes(m.plan.dram_bytes)}, read + written, by threads: {by_threads}",
        ),
    }


def _drive(m: Measured) -> Entry:
    drive, lanes = m.drive, m.plan.lanes
    most = max(m.plan.blocks)
    total = {n: drive.bandwidth(most, n) for n in lanes}
    enough = min(n for n in lanes if total[n] >= 0.95 * max(total.values()))
    how = f"reads at random places with O_DIRECT, {m.plan.reads} a thread"
    rows = [
        {"block": f"{block} B", "lanes": n, "bandwidth": f"{drive.bandwidth(block, n):.0f} B/s"}
        for block in m.plan.blocks
        for n in lanes
    ]
    return {
        "bandwidth": _entry(
            f"{total[enough]:.0f} B/s",
            f"{how}: {format_bytes(most)} by {enough}: {_us(drive.busy[most, enough])} a read",
        ),
        "latency": _entry(
            f"{drive.latency_s * NS_PER_S:.0f} ns",
            f"{how}: 4 KiB alone, from handing it to a thread until its end is known: {_us(drive.alone)}",
        ),
        "lanes": {
            "value": enough,
            "measured": True,
            "source": f"fewest threads within 5 % of the best; {', '.join(map(str, lanes))} were measured",
        },
        "table": {
            "value": rows,
            "measured": True,
            "source": f"{how}, {m.plan.repeats} repeats; without the latency: block / (time of a read - latency)",
        },
    }


def _gpu_unit(gpu: Gpu) -> Entry:
    halves = {key[1:]: s for key, s in gpu.experts.items() if key[0] == "float16"}
    size, tokens = max(halves)
    flops = size * tokens / halves[size, tokens].median  # 2 flops a weight of 2 bytes
    alone = halves[size, 1]
    reached = size / alone.median
    share = min(1.0, reached / gpu.device_copy.median)
    return {
        "flops": _entry(f"{flops:.0f} FLOP/s", f"SwiGLU, float16, {tokens} tokens: {_us(halves[size, tokens])}"),
        "memory_bandwidth": _entry(
            f"{gpu.device_copy.median:.0f} B/s",
            f"copies within the device, read + written: {gpu.device_copy.text(1e9, 'GB/s')}",
        ),
        "compute_efficiency": EFFICIENCY,
        "bandwidth_efficiency": {
            "value": round(share, 4),
            "measured": True,
            "source": f"SwiGLU of {format_bytes(size)}, float16, 1 token: {_us(alone)}",
        },
        "launch": _entry(
            f"{gpu.launch.median * NS_PER_S:.0f} ns", f"an addition of 1 number: {_us(gpu.launch)}"
        ),
    }


def _gpu_memory(gpu: Gpu) -> Entry:
    return {
        "capacity": _size(gpu.memory_bytes, "as CUDA says"),
        "reserved": _size(gpu.memory_bytes - gpu.free_bytes, "not free when it was measured, as CUDA says"),
    }


def _gpu_link(gpu: Gpu, copies: dict[tuple[bool, int], Sample]) -> Entry:
    sizes = sorted({size for _, size in copies})
    best = copies[True, sizes[-1]]
    small = copies[True, sizes[0]]
    latency = max(0.0, sizes[0] / small.median - sizes[0] / best.median)

    def by_size(*, pinned: bool) -> str:
        return ", ".join(f"{format_bytes(n)}: {copies[pinned, n].text(1e9, 'GB/s')}" for n in sizes)

    return {
        "bandwidth": _entry(
            f"{best.median:.0f} B/s", f"pinned {by_size(pinned=True)}; pageable {by_size(pinned=False)}"
        ),
        "latency": _entry(
            f"{latency * NS_PER_S:.0f} ns",
            f"pinned {format_bytes(sizes[0])} in a row, less its bytes at that rate",
        ),
        "reads_dram": True,
    }


def _entry(value: str, source: str) -> Entry:
    return {"value": value, "measured": True, "source": source}


def _size(n_bytes: int, source: str) -> Entry:
    return _entry(f"{n_bytes} B", source)


def _us(sample: Sample) -> str:
    return sample.text(1e-6, "us")
