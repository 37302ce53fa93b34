"""``routing: NAME``: a synthetic trace that stands in for routing of which only statistics are public."""

from __future__ import annotations

from pathlib import Path

from simulator import data
from simulator.config.paths import is_path
from simulator.config.yaml_file import find_named
from simulator.errors import InputError, did_you_mean
from simulator.trace.synth.generate import synthesise
from simulator.trace.synth.published import fit_to_published, load_published
from simulator.trace.synth.shape import header_of


def routing_names() -> list[str]:
    """Return the names of the stand-ins that are shipped, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def find_routing(name_or_path: str, beside: Path) -> Path:
    """Return the file of a stand-in: a name, or a path relative to ``beside``. Errors: InputError."""
    if is_path("validation", name_or_path):
        return find_named("validation", str(beside / name_or_path))
    if name_or_path not in routing_names():
        hint = f"{did_you_mean(name_or_path, routing_names())} (or a path)"
        raise InputError(name_or_path, "unknown routing", hint)
    return _folder() / f"{name_or_path}.yaml"


def draw_routing(path: Path, folder: Path) -> Path:
    """Draw the trace of a stand-in into ``folder``; the same bytes each time. Errors: InputError.

    Its parameters are ``fitted``; where the file has none, they are fitted first, which takes half a minute.
    """
    from simulator.trace.parquet import TraceWriter

    published, _ = load_published(str(path))
    parameters = published.fitted
    if parameters is None:
        parameters = fit_to_published(published, str(path), published.assumed.seed)[0].parameters
    trace = folder / f"{path.stem}.parquet"
    with TraceWriter(trace) as writer:
        for chunk in synthesise(parameters, header_of(parameters), f"published statistics: {published.name}"):
            writer.append(chunk)
    return trace


def _folder() -> Path:
    return data.folder("validation") / "routing"
