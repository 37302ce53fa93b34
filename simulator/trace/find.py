"""Where a trace that is named is: bundled, fetched into the cache folder, or a path."""

from __future__ import annotations

import os
from pathlib import Path

from simulator import data
from simulator.config.paths import is_path
from simulator.config.yaml_file import find_named
from simulator.errors import InputError, did_you_mean
from simulator.trace.catalogue import load_catalogue

SUFFIX = data.SUFFIX["traces"]


def cache_folder() -> Path:
    """Return the folder of fetched traces: MOESIM_CACHE, or this system's place for caches."""
    if chosen := os.environ.get("MOESIM_CACHE"):
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("moesim"))


def fetched(name: str, cache: Path | None = None) -> Path:
    """Return where a trace of the catalogue lies once it is fetched."""
    return (cache or cache_folder()) / f"{name}{SUFFIX}"


def find_trace(name_or_path: str) -> Path:
    """Return the file of a bundled or fetched trace, or of a path. Errors: InputError (there is none)."""
    bundled = data.names("traces")
    if is_path("traces", name_or_path) or name_or_path in bundled:
        return find_named("traces", name_or_path)
    catalogue = load_catalogue().traces
    if name_or_path not in catalogue:
        hint = f"{did_you_mean(name_or_path, {*bundled, *catalogue})} (or a path)"
        raise InputError(name_or_path, "unknown trace", hint)
    path = fetched(name_or_path)
    if not path.is_file():
        raise InputError(name_or_path, "not fetched yet", f"moesim trace fetch {name_or_path}")
    return path
