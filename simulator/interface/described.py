"""Experiments as Python has them: a file or a mapping, what is changed in it, and policies as objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.base import Policy
from policies.offered import offer
from simulator.config.yaml_file import Document, find_named, read_yaml
from simulator.experiment.sweep import RunSpec, expand

Given = str | Mapping[str, Any] | Policy | type[Policy]
"""A policy: its name, a mapping of name and parameters, an object or a class."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment with its sweep, checked; ``sets`` are laid over the document, as ``--set`` does.

    ``here``: its policies are objects of this process, and no other process can play it.
    """

    document: Document
    sets: tuple[str, ...] = ()
    here: bool = False

    @property
    def runs(self) -> list[RunSpec]:
        """The runs of the sweep, each fully resolved."""
        return expand(self.document, self.sets)

    def __len__(self) -> int:
        """Return how many runs it has."""
        return len(self.runs)


def load_experiment(
    source: str | Path | Mapping[str, Any] | Experiment,
    changes: Mapping[str, Any] | None = None,
    policies: Mapping[str, Given] | None = None,
) -> Experiment:
    """Return an experiment: a bundled name, a path, or a mapping with the keys of an experiment file.

    ``changes`` maps dotted keys to values, such as ``{"memory.gpu_expert_cache": "4 GiB"}``.
    ``policies`` maps an axis to a policy. An object is copied for each pool and each run; so it must not be
    bound yet. Paths are relative to the file, in a mapping to the working folder.
    Errors: InputError, as ``moesim run`` prints it.
    """
    if isinstance(source, Experiment):
        document, sets, here = source.document, source.sets, source.here
    elif isinstance(source, Mapping):
        document, sets, here = Document(Path("experiment"), dict(source)), (), False
    else:
        document, sets, here = read_yaml(find_named("experiments", str(source))), (), False
    changed = dict(changes or {})
    for axis, policy in (policies or {}).items():
        made = isinstance(policy, (Policy, type))
        changed[f"policies.{axis}"] = offer(axis, policy) if made else policy  # type: ignore[arg-type]
        here = here or made
    added = tuple(f"{key}={json.dumps(value)}" for key, value in changed.items())
    experiment = Experiment(document, (*sets, *added), here)
    _ = experiment.runs
    return experiment
