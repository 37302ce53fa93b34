"""``moesim calibrate``: measure this machine and write its profile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def calibrate(
    out: Annotated[Path, typer.Option("--out", "-o", help="the .yaml to write")],
    folder: Annotated[
        Path, typer.Option(help="folder on the drive to measure (a file of up to 2 GiB, removed afterwards)")
    ] = Path(),
    gpu: Annotated[bool, typer.Option(help="measure the first CUDA device too (needs PyTorch)")] = False,
    quick: Annotated[bool, typer.Option(help="fewer sizes and repeats: under a minute")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace what is there")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="compute threads (all cores)")] = None,
) -> None:
    """Measure this machine: drive, DRAM, experts on the CPU, and with --gpu a GPU and its link."""
    from dataclasses import replace

    from simulator.calibrate.device import cuda_device
    from simulator.calibrate.measure import QUICK, Plan, measure
    from simulator.calibrate.profile import profile, warnings
    from simulator.calibrate.write import check_new, write_profile

    check_new(out, force=force)
    plan = replace(QUICK if quick else Plan(), threads=threads)
    device = cuda_device() if gpu else None
    measured = measure(
        plan, folder, device=device, say=lambda what: print(f"measuring: {what}", file=sys.stderr)
    )
    for line in warnings(measured):
        print(f"warning: {line}", file=sys.stderr)
    write_profile(profile(measured, out.stem), out, force=force)
    print(f"profile: {out}")
