"""``moesim validate reference``: a small engine that is real, beside its simulation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.device import DeviceOption, On, asked_device


def reference(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the report")],
    folder: Annotated[
        Path, typer.Option(help="folder on the drive to use (1.5 GiB, removed afterwards; not with --gpu)")
    ] = Path(),
    trace: Annotated[str, typer.Option(help="trace with recorded predictions")] = "olmoe-mini",
    sizes: Annotated[
        list[float] | None,
        typer.Option(help="cache, as a share of all experts (repeatable; 0.25, 0.5, 0.75)"),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="times that all of it is run")] = 1,
    tokens: Annotated[int, typer.Option(min=1, help="decoded tokens of each run")] = 256,
    profile: Annotated[
        str | None,
        typer.Option(help="profile to use, of calibrate --threads 1 (default: calibrate between the tokens)"),
    ] = None,
    gpu: Annotated[
        bool, typer.Option(help="from host memory to the first CUDA device instead (needs PyTorch)")
    ] = False,
    device: DeviceOption = On.cuda,
    force: Annotated[bool, typer.Option("--force", help="replace another validation's results")] = False,
) -> None:
    """Move and compute experts for real, simulate the same, and compare token by token."""
    from simulator.machine.hardware import load_hardware
    from simulator.trace.find import find_trace
    from simulator.trace.parquet import read_trace
    from simulator.validate.reference.setup import SHAPE, Setup, gpu_shape
    from simulator.validate.reference.write import validate_reference

    on = asked_device(device, gpu=gpu)
    setup = Setup(
        folder=folder,
        trace=read_trace(find_trace(trace)),
        sizes=tuple(sizes or (0.25, 0.5, 0.75)),
        tokens=tokens,
        shape=gpu_shape(on) if on else SHAPE,
        repeats=repeats,
        gpu=on,
        profile=load_hardware(profile) if profile else None,
    )
    page = validate_reference(out, setup, force=force, say=lambda what: print(what, file=sys.stderr))
    print(page)
    print(f"results: {out}")
