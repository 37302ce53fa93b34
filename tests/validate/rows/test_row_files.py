"""Files of rows: what they may say, what is refused in one line, and the runs that they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.errors import InputError
from simulator.validate.rows.load import load_rows
from simulator.validate.rows.plan import Planner
from tests.validate.rows.row_files import COMMON, row, write_rows

ROUTING = """
name: evenly routed
statistics: [{statistic: reuse_1, value: 0.3, source: nobody}]
assumed: {layers: 32, experts: 8, top_k: 2}
fitted: {layers: 32, experts: 8, top_k: 2, sequences: 1, prefill: 1, decode: 4, skew: 0.0}
"""


def fault(path: Path) -> str:
    planner = Planner(path.parent)
    with pytest.raises(InputError) as refusal:
        [planner.plan(one) for one in load_rows(path)]
    return str(refusal.value)


@pytest.mark.parametrize(
    ("changed", "line", "says"),
    [
        ({"value": 0}, 16, "rows.0.value: input should be greater than 0 (0)"),
        ({"quantity": "speed"}, 15, "rows.0.quantity: unknown quantity"),
        ({"unit": "ms"}, 14, "unit ms for decode_tokens_per_second; it is in tok/s"),
        ({"over": {"set": {}}}, 14, "unit tok/s for a ratio of decode_tokens_per_second; it is in times"),
        ({"where": None}, 14, "rows.0.where: missing key"),
        ({"id": "With Blanks"}, 14, "rows.0.id: string should match pattern"),
        ({"tokens": 16}, 19, "rows.0.tokens: unknown key"),
        ({"warm": -1}, 19, "rows.0.warm: input should be greater than or equal to 0 (-1)"),
        ({"set": {"sweep.grid": {}}}, 19, "rows.0.set: sweep.grid is no setting of one run"),
        ({"set": {"memory.gpu_cache": "1 GiB"}}, 20, "memory.gpu_cache: unknown key"),
        ({"set": {"workload": {"batch_size": 0}}}, 21, "workload.batch_size: input should be greater than 0"),
        ({"set": {"routing": "nobody"}}, 20, "routing: nobody: unknown routing"),
        ({"set": {"hardware": "nowhere"}}, 20, "hardware: unknown hardware profile"),
        ({"set": {"software": "nothing"}}, 20, "software: unknown software profile"),
        (
            {"set": {"policies.eviction": "lruu"}},
            20,
            "policies.eviction: unknown policy 'lruu'; did you mean 'lru'?",
        ),
        (
            {"quantity": "hit_rate", "unit": "share", "value": 88.7},
            14,
            "value 88.7 is no share; 0.887 for 88.7 %",
        ),
    ],
)
def test_a_fault_is_one_line_with_its_place(
    tmp_path: Path, changed: dict[str, Any], line: int, says: str
) -> None:
    path = write_rows(tmp_path / "a.yaml", row(**changed))
    said = fault(path)
    assert said.startswith(f"{path}:{line}: "), said
    assert says in said
    assert "\n" not in said


def test_ids_are_unique_among_files(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.yaml")
    write_rows(tmp_path / "b.yaml")
    assert "one: an id twice; first in " in fault(tmp_path)


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    assert "no rows" in fault(tmp_path)


def test_a_row_is_picked_by_a_pattern_of_its_id(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.yaml", row(id="a-1"), row(id="a-2"), row(id="b-1"))
    assert [one.row.id for one in load_rows(path, "a-*")] == ["a-1", "a-2"]
    with pytest.raises(InputError, match="no row is called c"):
        load_rows(path, "c")


def test_settings_lie_over_the_common_ones(tmp_path: Path) -> None:
    given = {"memory": {"gpu_expert_cache": {"experts_per_layer": 2}}, "policies.eviction": "lfu"}
    path = write_rows(tmp_path / "a.yaml", row(set=given, over={"set": {}}, unit="times"))
    planned = Planner(tmp_path).plan(load_rows(path)[0])
    one, other = (run.experiment for run in planned.runs)
    assert (one.memory.gpu_expert_cache.experts_per_layer, one.policies.eviction) == (2, "lfu")
    assert (other.memory.gpu_expert_cache.bytes, other.policies.eviction) == (12 * 2**30, "lru")


def test_a_routing_is_drawn_once_and_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "even.yaml").write_text(ROUTING)
    common = {key: value for key, value in COMMON.items() if key != "trace"} | {"routing": "./even.yaml"}
    path = write_rows(tmp_path / "a.yaml", row(), row(id="two"), common=common)
    drawn = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        planner = Planner(tmp_path / name)
        traces = {planner.plan(one).run.experiment.trace for one in load_rows(path)}
        (trace,) = map(Path, traces)
        assert trace.is_relative_to(tmp_path / name)
        drawn.append(trace.read_bytes())
    assert drawn[0] == drawn[1]


def test_a_trace_takes_the_place_of_the_common_routing(tmp_path: Path) -> None:
    common = {key: value for key, value in COMMON.items() if key != "trace"} | {"routing": "nobody"}
    path = write_rows(tmp_path / "a.yaml", row(set={"trace": "mixtral-stand-in"}), common=common)
    assert Planner(tmp_path).plan(load_rows(path)[0]).run.experiment.trace == "mixtral-stand-in"
