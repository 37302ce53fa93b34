"""Sweeps: which runs a grid, several grids and seeds make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.config.yaml_file import read_yaml
from simulator.errors import InputError
from simulator.experiment.points import first_point, points
from simulator.experiment.schema import Sweep
from simulator.experiment.sweep import expand

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
        ("{seeds: [1, true]}", "sweep.seeds.1"),
        ("{grid: {workload.batch_size: [1, true]}}", "workload.batch_size"),
        ("{grid: {memory.gpu_expert_cache: [1 GiB, 1024 MiB]}}", "is the same as run 0"),
        ("{grids: [{system: [hobbit, fiddler]}, {system: [fiddler]}]}", "is the same as run 1"),
        ("{grid: {seed: [1]}}", "list seeds in sweep.seeds"),
        ("{zip: {system: [fiddler], model: [a, b]}}", "different lengths (system 1, model 2)"),
        ("{zip: {system: [fiddler, fiddler]}}", 'sweep.zip: ["fiddler"] comes twice'),
        ("{zip: {system: [fiddler]}, grid: {system: [hobbit]}}", "is in sweep."),
        ("{list: [{system: fiddler}], zip: {system: [hobbit]}}", "is in sweep."),
        ("{list: [{system: fiddler}, {system: fiddler}]}", "comes twice"),
        ("{list: [{}]}", "sweep.list"),
        ("{exclude: [{system: hobbit}], seeds: [1]}", "there is no sweep to leave runs out of"),
        (
            f"{{grid: {{workload.batch_size: {list(range(1, 400))}}}, seeds: {list(range(400))}}}",
            "159,600 runs",
        ),
        ("{list: [{name: a}]}", "sweep.list.name: cannot be swept"),
        ("{list: [{workload: {batch_size: 2}, workload.batch_size: 3}]}", "contains workload.batch_size"),
        ("{list: [{sytem: fiddler}]}", "did you mean 'system'?"),
        ("{exclude: [{system: fiddler}]}", "system is not swept"),
        ("{grid: {system: [hobbit]}, exclude: [{sistem: hobbit}]}", "did you mean 'system'?"),
        ("{grid: {system: [hobbit]}, exclude: [{system: fiddler}]}", "matches no run"),
        ("{grid: {system: [hobbit]}, exclude: [{system: hobbit}]}", "every run is excluded"),
    ],
)
def test_a_bad_sweep_is_refused(tmp_path: Path, sweep: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        runs(tmp_path, sweep)
    assert says in str(error.value)


# -- zip, list, exclude ----------------------------------------------------------------------------------


def test_zipped_keys_walk_side_by_side_within_the_grid(tmp_path: Path) -> None:
    found = runs(
        tmp_path,
        """
  grid: {system: [on-demand, fiddler]}
  zip: {model: [olmoe-1b-7b, mixtral-8x7b], trace: [olmoe-mini, mixtral-stand-in]}
""",
    )
    pairs = [("olmoe-1b-7b", "olmoe-mini"), ("mixtral-8x7b", "mixtral-stand-in")]
    systems = ("on-demand", "fiddler")
    assert found == [({"system": s, "model": m, "trace": t}, 0) for s in systems for m, t in pairs]


def test_a_list_has_points_of_its_own_each_with_the_grid(tmp_path: Path) -> None:
    found = runs(
        tmp_path,
        """
  list:
    - {system: fiddler}
    - {system: hobbit, policies.prefetch: none}
  grid: {memory.gpu_expert_cache.fraction: [0.25, 0.5]}
""",
    )
    entries = [{"system": "fiddler"}, {"system": "hobbit", "policies.prefetch": "none"}]
    fractions = [{"memory.gpu_expert_cache.fraction": x} for x in (0.25, 0.5)]
    assert found == [(entry | fraction, 0) for entry in entries for fraction in fractions]


def test_exclusions_leave_out_what_has_all_their_values(tmp_path: Path) -> None:
    found = runs(
        tmp_path,
        """
  grid: {system: [on-demand, fiddler, hobbit], memory.gpu_expert_cache.fraction: [0.25, 0.5]}
  exclude:
    - {system: fiddler}
    - {system: hobbit, memory.gpu_expert_cache.fraction: 0.5}
""",
    )
    kept = [("on-demand", 0.25), ("on-demand", 0.5), ("hobbit", 0.25)]
    assert found == [({"system": s, "memory.gpu_expert_cache.fraction": f}, 0) for s, f in kept]


KEYS = st.sampled_from(["system", "model", "memory.gpu_expert_cache.fraction", "workload.batch_size"])
VALUES = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.data())
def test_the_points_are_those_of_brute_force(grid: dict[str, list[int]], data: st.DataObject) -> None:
    """All assignments of the grid's keys in the order of counting, less those that an exclusion matches."""
    every: list[dict[str, object]] = [{}]
    for key, values in grid.items():
        every = [point | {key: value} for point in every for value in values]
    excluded = data.draw(st.lists(st.sampled_from(every), max_size=2)) if grid else []
    entries = list({json.dumps(e): e for e in excluded}.values())
    kept = [point for point in every if point not in excluded]
    sweep = Sweep(grid=grid, exclude=tuple(entries))
    if kept:
        assert points(sweep, "here") == kept
        assert first_point({"grid": grid}) == every[0]
    else:
        with pytest.raises(InputError, match="every run is excluded"):
            points(sweep, "here")


# -- extends ---------------------------------------------------------------------------------------------


def written(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_an_experiment_says_only_what_differs_from_its_base(tmp_path: Path) -> None:
    written(
        tmp_path,
        base=BASE + "system: hobbit\nsweep: {grid: {system: [on-demand, fiddler]}, seeds: [1]}\n",
        middle="extends: base.yaml\nworkload: {batch_size: 2}\nsweep: {grid: {system: [hobbit]}}\n",
        top="extends: middle.yaml\nname: top\nmemory: {gpu_expert_cache: {fraction: 0.75}}\nsystem:\n",
    )
    (spec,) = expand(read_yaml(tmp_path / "top.yaml"), ["workload.max_sequences=1"])
    assert spec.experiment.name == "top"
    assert spec.experiment.extends is None
    assert (spec.experiment.workload.batch_size, spec.experiment.workload.max_sequences) == (2, 1)
    assert spec.experiment.memory.gpu_expert_cache is not None
    assert spec.experiment.memory.gpu_expert_cache.fraction == 0.75
    assert (spec.swept, spec.seed) == ({"system": "hobbit"}, 1)
    assert (tmp_path / "top.yaml").read_text() == read_yaml(tmp_path / "top.yaml").path.read_text()


def test_a_bundled_experiment_can_be_extended_by_name(tmp_path: Path) -> None:
    written(tmp_path, mine="extends: quickstart\nname: mine\n")
    assert {s.experiment.name for s in expand(read_yaml(tmp_path / "mine.yaml"))} == {"mine"}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"top": "extends: none.yaml\n"}, "top.yaml:1: extends: none.yaml: no such file"),
        ({"top": "extends: quickstar\n"}, "did you mean 'quickstart'?"),
        ({"top": "name: x\nextends: [a]\n"}, "top.yaml:2: extends: not a file name"),
        ({"top": "extends: top.yaml\n"}, "extends this file in turn"),
        ({"top": "extends: a.yaml\n", "a": "extends: top.yaml\n"}, "a.yaml:1: extends"),
        ({"top": "extends: a.yaml\n", "a": BASE + "workloat: {}\n"}, "a.yaml:7): workloat: unknown key"),
        ({"top": "extends: a.yaml\nworkloat: {}\n", "a": BASE}, "top.yaml:2: workloat: unknown key"),
        ({"top": "extends: a.yaml\n", "a": "a: [\n"}, "a.yaml:2: not valid YAML"),
    ],
)
def test_a_bad_base_is_refused_where_it_is_wrong(tmp_path: Path, files: dict[str, str], says: str) -> None:
    written(tmp_path, **files)
    with pytest.raises(InputError) as error:
        expand(read_yaml(tmp_path / "top.yaml"))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "memory.gpu_expert_cache.fraction=0.1",
            "the sweep sets memory.gpu_expert_cache.fraction; set sweep={} too",
        ),
        ("memory.gpu_expert_cache=1 GiB", "the sweep sets memory.gpu_expert_cache.fraction"),
        ("system.x=1", "the sweep sets system"),
    ],
)
def test_what_is_swept_cannot_be_set_too(tmp_path: Path, text: str, says: str) -> None:
    sweep = "sweep: {grid: {memory.gpu_expert_cache.fraction: [0.25, 0.5], system: [hobbit]}}\n"
    written(tmp_path, e=BASE + sweep)
    with pytest.raises(InputError, match=says):
        expand(read_yaml(tmp_path / "e.yaml"), [text])


def test_a_bad_value_of_the_sweep_is_not_blamed_on_the_line_that_it_replaces(tmp_path: Path) -> None:
    written(tmp_path, e=BASE + "sweep: {grid: {memory.gpu_expert_cache.fraction: [1.5, 0.5]}}\n")
    with pytest.raises(InputError, match=r"e.yaml: sweep: memory.gpu_expert_cache.fraction: .*1\.5"):
        expand(read_yaml(tmp_path / "e.yaml"))


def test_what_is_taken_away_does_not_come_back_from_further_below(tmp_path: Path) -> None:
    written(
        tmp_path,
        base=BASE.replace("memory: {", "memory: {kv: grow, "),
        middle="extends: base.yaml\n",
        top="extends: middle.yaml\nmemory: {kv: }\n",
    )
    assert expand(read_yaml(tmp_path / "top.yaml"))[0].experiment.memory.kv == "reserve"


def test_what_extends_cannot_be_set(tmp_path: Path) -> None:
    written(tmp_path, e=BASE)
    with pytest.raises(InputError, match="--set extends: cannot be set"):
        expand(read_yaml(tmp_path / "e.yaml"), ["extends=quickstart"])
