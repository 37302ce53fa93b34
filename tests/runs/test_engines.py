"""Both engines make the same row and the same tables of a run, whatever the system."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from simulator.assemble.library import Library
from simulator.experiment.schema import Experiment
from simulator.experiment.sweep import RunSpec
from simulator.experiment.systems import with_system
from simulator.runs.play import play, prepare
from tests.places import ROOT

SYSTEMS = sorted(path.stem for path in (ROOT / "policies" / "systems").glob("*.yaml"))
LOW = {"edgemoe", "hobbit", "hobbit-cpu", "moe-apex"}
LIBRARY = Library()


def both(system: str, hardware: str, **memory: Any) -> None:
    data = {
        "name": "both",
        "model": "olmoe-1b-7b",
        "hardware": hardware,
        "trace": "olmoe-mini",
        "training_share": 0.25,
        "precision": {"experts": ["int4", "int2"] if system in LOW else ["int4"]},
        "memory": {"gpu_expert_cache": {"fraction": 0.25}, **memory},
        "workload": {"max_sequences": 1, "max_decode_tokens": 4},
        "system": system,
    }
    spec = RunSpec(0, Experiment.model_validate(with_system(data, "both")), 0, {}, "both")
    fast, plain = (play(prepare(replace(spec, engine=e), LIBRARY), LIBRARY) for e in ("auto", "simpy"))
    assert fast[0] == plain[0]
    assert fast[1] == plain[1]  # pyarrow tables


@pytest.mark.parametrize("system", SYSTEMS)
def test_two_tiers(system: str) -> None:
    both(system, "rtx4090-pcie4")


@pytest.mark.parametrize("system", ["hobbit", "moe-infinity", "lru-gate-lookahead", "fiddler"])
def test_three_tiers(system: str) -> None:
    both(system, "rtx4090-pcie4", cpu_expert_cache={"fraction": 0.5})
