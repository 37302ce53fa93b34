"""Sweeps: which runs a grid, several grids and seeds make."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.config.yaml_file import read_yaml
from simulator.errors import InputError
from simulator.sweep import expand

BASE = """
name: e
model: olmoe-1b-7b
hardware: rtx3060-12gb-pcie4
trace: olmoe-mini
memory: {gpu_expert_cache: {fraction: 0.5}}
"""


def runs(tmp_path: Path, sweep: str) -> list[tuple[dict[str, object], int]]:
    file = tmp_path / "e.yaml"
    file.write_text(BASE + f"sweep: {sweep}\n", encoding="utf-8")
    return [(dict(spec.swept), spec.seed) for spec in expand(read_yaml(file))]


def test_grids_follow_one_another_each_with_the_common_one(tmp_path: Path) -> None:
    found = runs(
        tmp_path,
        """
  grid: {memory.gpu_expert_cache.fraction: [0.25, 0.5]}
  grids:
    - {system: [on-demand, fiddler]}
    - {system: [hobbit], precision.experts: [[int8, int2]]}
""",
    )
    fractions = [{"memory.gpu_expert_cache.fraction": x} for x in (0.25, 0.5)]
    first = [f | {"system": s} for f in fractions for s in ("on-demand", "fiddler")]
    second = [f | {"system": "hobbit", "precision.experts": ["int8", "int2"]} for f in fractions]
    assert found == [(run, 0) for run in first + second]


def test_a_later_grid_replaces_the_common_one(tmp_path: Path) -> None:
    found = runs(tmp_path, "{grid: {system: [fiddler]}, grids: [{system: [hobbit]}, {}], seeds: [0, 3]}")
    assert found == [({"system": s}, seed) for s in ("hobbit", "fiddler") for seed in (0, 3)]


@pytest.mark.parametrize(
    ("sweep", "says"),
    [
        ("{grids: [{name: [a]}]}", "sweep.grid.name: cannot be swept"),
        ("{grids: [{system: []}]}", "sweep.grids"),
        ("{grids: {system: [hobbit]}}", "sweep.grids"),
        ("{grids: [{system: [hobbit, hobbit]}]}", "comes twice"),
        ("{seeds: [1, 1]}", "sweep.seeds: 1 comes twice"),
    ],
)
def test_a_bad_sweep_is_refused(tmp_path: Path, sweep: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        runs(tmp_path, sweep)
    assert says in str(error.value)
