"""From measurements to a hardware profile: every number with how it was measured, what is doubtful said."""

from __future__ import annotations

from datetime import UTC, datetime

from simulator.assemble.code import IDEAL
from simulator.calibrate.entries import EFFICIENCY, Entry, entry, size_entry, us
from simulator.calibrate.expert import roofline
from simulator.calibrate.marks import MEASURED_ON, NUMPY, REHEARSED_ON
from simulator.calibrate.measure import Measured
from simulator.calibrate.profile_gpu import (
    dense_note,
    fastest_link,
    gpu_links,
    gpu_memory,
    gpu_samples,
    gpu_unit,
)
from simulator.calibrate.profile_lanes import lane_samples, lanes_link
from simulator.calibrate.sample import WIDE, worst
from simulator.calibrate.system import BUSY
from simulator.config.units import format_bytes
from simulator.config.yaml_file import validate_mapping
from simulator.engine.plan import NS_PER_S
from simulator.machine.hardware import HardwareProfile


def profile(measured: Measured, name: str) -> HardwareProfile:
    """Return what was measured as a profile named ``name``."""
    return validate_mapping(_data(measured, name), HardwareProfile, f"calibration {name}")


def warnings(m: Measured) -> list[str]:
    """Return what makes the numbers doubtful, one line each."""
    said = []
    if m.gpu is not None and not m.gpu.real:
        said.append(REHEARSED_ON)
    if m.system.load > BUSY:
        said.append(
            f"the machine was busy (load average {m.system.load:.1f} a core): measure again when it rests"
        )
    samples = {
        **(lane_samples(m.drive, "reads") if m.drive else {}),
        **{f"DRAM copies by {n}": s for n, s in m.dram.items()},
        **{f"experts of {format_bytes(b)} with {n} tokens": s for (b, n), s in m.experts.float32.items()},
        **(gpu_samples(m.gpu) if m.gpu else {}),
    }
    wide = [f"{what} {s.spread:.0%}" for what, s in samples.items() if s.spread > WIDE]
    if wide:
        said.append(f"quartiles more than {WIDE:.0%} of the median apart: {', '.join(wide)}")
    return said


def _data(m: Measured, name: str) -> Entry:
    tiers: Entry = {"cpu": _dram(m)}
    compute: Entry = {"cpu": _cpu(m)}
    links: Entry = {}
    if m.drive is not None:
        how = f"reads at random places with O_DIRECT, {m.plan.reads} a thread"
        tiers |= {"ssd": {"capacity": size_entry(m.drive_bytes, "size of the file system")}}
        links = {"ssd_to_cpu": lanes_link(m.drive, how)}
    if m.gpu is not None:
        compute = {"gpu": gpu_unit(m.gpu), **compute}
        tiers = {"gpu": gpu_memory(m.gpu), **tiers}
        links = {**gpu_links(m.gpu, m.plan.reads), **links}
    return {
        "name": name,
        "title": f"{f'{m.gpu.name}, ' if m.gpu else ''}{m.system.processor}, {m.system.cores} cores",
        "notes": "\n".join(_notes(m)),
        "main": "gpu" if m.gpu else "cpu",
        "compute": compute,
        "tiers": tiers,
        "links": links,
    }


def _notes(m: Measured) -> list[str]:
    versions = f"{m.system.versions}{', ' + m.gpu.version if m.gpu else ''}"
    notes = [
        f"{MEASURED_ON}{datetime.now(UTC):%Y-%m-%d} ({versions}).",
        f"Load average {m.system.load:.2f} a core at the start; {m.system.kind}.",
    ]
    if m.contention is not None:
        slower, longer = m.contention
        notes.append(
            f"Beside reads an expert takes {slower:.2f} times as long, "
            f"a read beside experts {longer:.2f} times."
        )
    if m.gpu is not None:
        notes.append(f"A copy to the GPU takes {m.gpu.beside:.2f} times as long beside experts.")
        notes.append(dense_note(m.gpu))
    notes += [
        "Not measured: dequantisation on the CPU, so it is free.",
        "Not measured: dense products on the CPU, so they are charged by bytes at the experts' rate.",
    ]
    return notes + [f"WARNING: {line}." for line in warnings(m)]


def _cpu(m: Measured) -> Entry:
    rate, flops, fixed = roofline(m.experts.float32, 4)
    sizes = {size for size, _ in m.experts.float32}
    one = m.experts.float32[max(sizes), 1]
    many = m.experts.float32[max(m.experts.float32)]
    how = f"{NUMPY.format(m.threads)}, weights beyond the caches"
    steady = worst({format_bytes(b): s for (b, t), s in m.experts.float32.items() if t == 1})
    return {
        "flops": entry(f"{flops:.0f} FLOP/s", f"{how}, {max(m.experts.float32)[1]} tokens: {us(many)}"),
        "memory_bandwidth": entry(
            f"{rate:.0f} B/s",
            f"{how}: line through {len(sizes)} sizes, 1 token, {steady}; "
            f"{format_bytes(max(sizes))} take {us(one)}; "
            f"stored as float16 and converted {us(m.experts.float16)}",
        ),
        "compute_efficiency": EFFICIENCY,
        "bandwidth_efficiency": EFFICIENCY,
        "launch": entry(
            f"{fixed / IDEAL.expert * NS_PER_S:.0f} ns",
            f"the same line at 0 bytes, over 3 matrix products; {steady}",
        ),
    }


def _dram(m: Measured) -> Entry:
    best = max(m.dram, key=lambda n: m.dram[n].median)
    by_threads = ", ".join(f"{n}: {s.text(1e9, 'GB/s')}" for n, s in m.dram.items())
    rates = {
        "": m.dram[best].median,
        "experts on the CPU stream": roofline(m.experts.float32, 4)[0],
        "the GPU's link reads": 0.0 if m.gpu is None else fastest_link(m.gpu),
    }
    who = max(rates, key=lambda name: rates[name])
    also = f"; {who} at {rates[who] / 1e9:.4g} GB/s, so at least that" if who else ""
    return {
        "capacity": size_entry(m.system.memory_bytes, "physical pages, as the system says"),
        "reserved": size_entry(m.system.used_bytes, "in use when it was measured, as the system says"),
        "bandwidth": entry(
            f"{rates[who]:.0f} B/s",
            f"numpy copies of {format_bytes(m.plan.dram_bytes)}, read + written (what a processor reads "
            f"before it writes not counted), by threads: {by_threads}{also}",
        ),
    }
