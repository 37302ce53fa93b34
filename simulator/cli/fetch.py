"""``moesim trace fetch``: a trace of the catalogue, downloaded, verified and imported."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from simulator.files import check_target


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="one of `moesim list traces`")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="also write a copy to this .parquet")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace what is there")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="folder to keep it in (default: MOESIM_CACHE, or the system's cache)")
    ] = None,
) -> None:
    """Download a published trace; experiments then find it by its name."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from simulator.trace.catalogue import load_catalogue
    from simulator.trace.fetch import fetch as fetch_trace
    from simulator.trace.find import cache_folder
    from simulator.whole import whole

    entry = load_catalogue().entry(name)
    if out:
        check_target(out, force=force)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=entry.bytes or None)
        done = fetch_trace(name, entry, cache or cache_folder(), lambda n: progress.advance(task, n))
    if done.unverified:
        print(f"moesim: {name}: unverified, the catalogue has no hash to compare with:", file=sys.stderr)
        for path, digest in done.unverified.items():
            print(f"{digest}  {path}")
    if out:
        with whole(out) as copy:
            shutil.copyfile(done.path, copy)
    state = "already there" if done.already else f"licence {entry.licence}, from {entry.source}"
    print(f"{out or done.path}: {state}")
