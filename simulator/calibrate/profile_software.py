"""From measurements of eager PyTorch to a software profile: a shipped one with the measured numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from simulator.calibrate.eager import Eager
from simulator.calibrate.eager_bench import LAYER_LAUNCHES
from simulator.calibrate.entries import Entry, entry, share_entry, us
from simulator.calibrate.expert import roofline
from simulator.calibrate.gpu import Gpu
from simulator.calibrate.marks import MEASURED_ON, REHEARSED_ON
from simulator.calibrate.sample import WIDE
from simulator.config.units import format_bytes
from simulator.config.yaml_file import validate_mapping
from simulator.engine.plan import NS_PER_S
from simulator.errors import InputError
from simulator.machine.software import DEFAULT, SoftwareProfile, load_software

PYTORCH = ("pytorch-eager", "pytorch-hqq")
"""Software whose costs are eager PyTorch's own."""


def base_of(out: Path) -> SoftwareProfile:
    """Return the shipped profile that a file is named after. Errors: InputError (none of PyTorch's)."""
    if out.stem not in PYTORCH:
        allowed = " or ".join(f"{name}.yaml" for name in PYTORCH)
        raise InputError("--software", f"{out.name} is no software that is measured", f"name it {allowed}")
    return load_software(out.stem)


def software_profile(gpu: Gpu, eager: Eager, base: SoftwareProfile) -> SoftwareProfile:
    """Return ``base`` with every number of it that was measured; the others keep value and source."""
    data = base.model_dump(mode="json", exclude_none=True)
    for section, found in _measured(gpu, eager).items():
        if section in data:
            data[section] |= {key: number for key, number in found.items() if key in data[section]}
    data["notes"] = "\n".join([base.notes, *_notes(gpu, eager)])
    return validate_mapping(data, SoftwareProfile, f"calibration {base.name}")


def _measured(gpu: Gpu, eager: Eager) -> dict[str, Entry]:
    """Return what was measured, by section and key."""
    halves = {key[1:]: s for key, s in gpu.experts.items() if key[0] == "float16"}
    copies = gpu.device_copy.median
    rate, _, fixed = roofline(halves, 2, fastest=copies)
    trip = max(0.0, eager.round_trip.median - eager.tiny.median - eager.start.median)
    reached = f"{rate / 1e9:.4g} of the {copies / 1e9:.4g} GB/s that copies within the GPU reach"
    share = share_entry(rate / copies, f"SwiGLU in float16, line through the sizes, one token: {reached}")
    ideal_s = gpu.dense_bytes / copies
    return {
        "issue": {
            "call": _time(
                eager.modules.median,
                f"a launch within modules (norm and expert of one token, {LAYER_LAUNCHES} launches), nothing "
                f"waited for: {us(eager.modules)}; an addition of one number: {us(eager.tiny)}",
            ),
            "start": _time(
                eager.start.median,
                f"an addition of one number, queued in time, by CUDA's events: {us(eager.start)}",
            ),
        },
        "books": {
            "round_trip": _time(
                trip,
                f"a kernel, a wait and the read of one number, {us(eager.round_trip)}, "
                "less the kernel's issue and start; the code around it not counted",
            )
        },
        "copies": {
            "call": _time(
                eager.copy_call.median, f"a copy of pinned memory, not waited for: {us(eager.copy_call)}"
            )
        },
        "unpack": {
            "bytes_per_weight": {
                "value": float(f"{eager.unpacking[2].median * rate:.4g}"),
                "measured": True,
                "source": f"time of unpacking 2 bits at the rate of experts, {rate / 1e9:.4g} GB/s, launches "
                f"included; {_unpacking(eager)}",
            }
        },
        "gpu_kernels": {
            "experts": share | {"value": {DEFAULT: share["value"]}},
            "dense": share_entry(
                ideal_s / max(ideal_s, gpu.dense.median - fixed),
                f"a layer's products, {format_bytes(gpu.dense_bytes)} in float16, less what an expert of 0 "
                f"bytes takes, of what copies within the GPU reach: {us(gpu.dense)}",
            ),
        },
    }


def _notes(gpu: Gpu, eager: Eager) -> list[str]:
    """Return how it was measured, and what has no number in the profile."""
    (hidden, ffn), k = eager.expert, eager.chosen
    today = f"{MEASURED_ON}{datetime.now(UTC):%Y-%m-%d}"
    node = f"takes {us(eager.node)}" if eager.node else "was not measured: the device has none"
    experts = f"{k} experts of {hidden} x {ffn} in float16"
    notes = [
        f"{today}: {gpu.name} ({gpu.version}). Numbers that are not measured are the shipped profile's.",
        f"A node of a CUDA graph {node}.",
        f"{experts} take {us(eager.fused)} in three batched products, {us(eager.apart)} one by one.",
        f"Unpacking to float16: {_unpacking(eager)}.",
    ]
    if not gpu.real:
        notes.append(f"WARNING: {REHEARSED_ON}.")
    if wide := [f"{what} {s.spread:.0%}" for what, s in eager.samples().items() if s.spread > WIDE]:
        notes.append(f"WARNING: quartiles more than {WIDE:.0%} of the median apart: {', '.join(wide)}.")
    return notes


def _unpacking(eager: Eager) -> str:
    each = (f"{bits} bits {s.text(1e-12, 'ps')} a weight" for bits, s in eager.unpacking.items())
    return "; ".join(each)


def _time(seconds: float, source: str) -> Entry:
    return entry(f"{seconds * NS_PER_S:.0f} ns", source)
