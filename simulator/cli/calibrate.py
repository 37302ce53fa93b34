"""``moesim calibrate``: measure this machine and write its profile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.device import DeviceOption, On, asked_device
from simulator.errors import InputError


def calibrate(
    out: Annotated[Path, typer.Option("--out", "-o", help="the .yaml to write")],
    folder: Annotated[
        Path | None,
        typer.Option(
            help="folder on the drive to measure, here by default (up to 2 GiB, removed afterwards)"
        ),
    ] = None,
    drive: Annotated[bool, typer.Option("--drive/--no-drive", help="measure a drive at all")] = True,
    gpu: Annotated[bool, typer.Option(help="measure the first CUDA device too (needs PyTorch)")] = False,
    device: DeviceOption = On.cuda,
    quick: Annotated[bool, typer.Option(help="fewer sizes and repeats: under a minute")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace what is there")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="compute threads (all cores)")] = None,
) -> None:
    """Measure this machine: drive, DRAM, experts on the CPU, and with --gpu a GPU and its link."""
    from dataclasses import replace

    from simulator.calibrate.measure import QUICK, REHEARSAL, Plan, measure
    from simulator.calibrate.profile import profile, warnings
    from simulator.calibrate.write import check_new, write_profile

    check_new(out, force=force)
    if folder is not None and not drive:
        raise InputError("--folder", "goes without --no-drive", "give one of them")
    on = asked_device(device, gpu=gpu)
    size = QUICK if quick else Plan()
    plan = replace(REHEARSAL if device is On.cpu else size, threads=threads)
    where = (folder or Path()) if drive else None
    measured = measure(plan, where, device=on, say=lambda what: print(f"measuring: {what}", file=sys.stderr))
    for line in warnings(measured):
        print(f"warning: {line}", file=sys.stderr)
    write_profile(profile(measured, out.stem), out, force=force)
    print(f"profile: {out}")
