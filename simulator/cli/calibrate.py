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
    software: Annotated[
        list[Path] | None,
        typer.Option(help="with --gpu: pytorch-eager.yaml or pytorch-hqq.yaml to write too (repeatable)"),
    ] = None,
    quick: Annotated[bool, typer.Option(help="fewer sizes and repeats: under a minute")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace what is there")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="compute threads (all cores)")] = None,
) -> None:
    """Measure this machine: drive, DRAM, experts on the CPU, and with --gpu a GPU and its link."""
    from dataclasses import replace

    from simulator.calibrate.eager import measure_eager
    from simulator.calibrate.measure import QUICK, REHEARSAL, Plan, measure
    from simulator.calibrate.profile import profile, warnings
    from simulator.calibrate.profile_software import base_of, software_profile
    from simulator.calibrate.write import check_new, write_profile

    wanted = {path: base_of(path) for path in software or ()}
    if wanted and not gpu:
        raise InputError("--software", "goes with --gpu", "give both or neither")
    for path in (out, *wanted):
        check_new(path, force=force)
    if folder is not None and not drive:
        raise InputError("--folder", "goes without --no-drive", "give one of them")
    on = asked_device(device, gpu=gpu)
    size = QUICK if quick else Plan()
    plan = replace(REHEARSAL if device is On.cpu else size, threads=threads)
    where = (folder or Path()) if drive else None

    def say(what: str) -> None:
        print(f"measuring: {what}", file=sys.stderr)

    measured = measure(plan, where, device=on, say=say)
    for line in warnings(measured):
        print(f"warning: {line}", file=sys.stderr)
    write_profile(profile(measured, out.stem), out, force=force)
    print(f"profile: {out}")
    if wanted and on and measured.gpu:
        say("eager PyTorch")
        eager = measure_eager(on, repeats=plan.repeats)
        for path, base in wanted.items():
            write_profile(software_profile(measured.gpu, eager, base), path, force=force)
            print(f"software: {path}")
