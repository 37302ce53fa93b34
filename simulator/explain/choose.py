"""Which run is explained: one of an experiment, or of a results folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simulator.config.yaml_file import Document, find_named, parse_yaml, read_yaml
from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec, expand
from simulator.report.folder import read_results


def choose(source: str, sets: Sequence[str], number: int) -> tuple[RunSpec, int]:
    """Return run ``number`` of an experiment or a results folder, and how many runs there are.

    Errors: InputError (no such run, or anything wrong with the source).
    """
    folder = Path(source)
    if folder.is_dir():
        documents = [_document(folder, one.text) for one in read_results(folder).configs]
        _check(source, number, len(documents))
        return expand(documents[number], sets)[0], len(documents)
    specs = expand(read_yaml(find_named("experiments", source)), sets)
    _check(source, number, len(specs))
    return specs[number], len(specs)


def _document(folder: Path, text: str) -> Document:
    path = folder / "config.resolved.yaml"
    return Document(path, parse_yaml(text, str(path)))


def _check(source: str, number: int, n_runs: int) -> None:
    if number >= n_runs:
        allowed = f"0 to {n_runs - 1}" if n_runs > 1 else "there is only run 0"
        raise InputError(f"--run {number}", f"{source} has no such run", allowed)
