"""Fetching a trace of the catalogue: downloaded, verified, imported, and only then under its name.

Life cycle: ``CACHE/downloads/NAME/PATH.partial`` grows, becomes ``PATH`` when its hash is right, and
when all files are there they are imported into ``CACHE/NAME.parquet``. Whatever is there already is
not asked for again, so files may also be put there by hand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from simulator.errors import InputError
from simulator.trace.catalogue import Entry, File
from simulator.trace.core import Trace
from simulator.trace.download import Download
from simulator.trace.edit import noted
from simulator.trace.find import fetched
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from simulator.trace.parquet import write_trace


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where the trace is, whether it was there before, and the SHA-256 of files nobody vouched for."""

    path: Path
    already: bool
    unverified: dict[str, str]


def fetch(name: str, entry: Entry, cache: Path, advanced: Callable[[int], None]) -> Fetched:
    """Return the trace ``name`` in ``cache``, downloaded unless it is there; ``advanced`` hears of bytes.

    Two processes may fetch the same name: the second one waits, and finds it there. Errors: InputError
    (to be fetched by hand, a download that failed, another hash, files that are not what the entry says).
    """
    from filelock import FileLock

    target = fetched(name, cache)
    if target.is_file():
        return Fetched(target, already=True, unverified={})
    if entry.importer is None:
        raise InputError(name, "cannot be fetched", f"{entry.by_hand} ({entry.source})")
    folder = cache / "downloads" / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{name}.lock")):
        if target.is_file():
            return Fetched(target, already=True, unverified={})
        unverified = {}
        for file in entry.files:
            digest = _download(file, entry.url(file), folder, advanced)
            if file.sha256 is None:
                unverified[file.path] = digest
        write_trace(_import(entry, folder, unverified), target)
    return Fetched(target, already=False, unverified=unverified)


def _download(file: File, url: str, folder: Path, advanced: Callable[[int], None]) -> str:
    """Bring a file into ``folder`` unless it is there as it should be; return its SHA-256."""
    import pooch

    pooch.get_logger().setLevel(logging.ERROR)  # what it would say on stderr is said by the command line
    target = folder / file.path
    try:
        pooch.retrieve(
            url,
            known_hash=file.sha256,
            path=target.parent,
            fname=target.name,
            downloader=Download(file, target, advanced),
        )
    except ValueError as error:  # pooch's word for another hash; it has removed the file
        raise InputError(
            url,
            str(error).partition(". ")[0],
            "it was removed: its source has changed, or it was changed on its way",
        ) from error
    return str(pooch.file_hash(str(target)))


def _import(entry: Entry, folder: Path, unverified: dict[str, str]) -> Trace:
    """Read the files as the entry says, and check that they hold what it says."""
    assert entry.importer is not None
    how = entry.importer
    options = ImportOptions(
        phase=how.phase, model=how.model, n_experts=how.n_experts, top_k=how.top_k, licence=entry.licence
    )
    trace = import_trace(folder / (how.source or "."), how.format, options)
    header, shape = trace.header, entry.shape
    found = (header.n_layers, header.n_experts, header.top_k, trace.n_tokens)
    stated = (shape.moe_layers, shape.experts, shape.top_k, entry.tokens or trace.n_tokens)
    if found != stated:
        what = f"layers, experts, k and tokens are {found}"
        raise InputError(str(folder), what, f"the catalogue says {stated}: another version of the files?")
    notes = noted(header.notes, f"fetched from {entry.source}")
    for path, digest in unverified.items():
        notes = noted(notes, f"sha256 of {path}, not verified: {digest}")
    return replace(trace, header=header.model_copy(update={"notes": notes}))
