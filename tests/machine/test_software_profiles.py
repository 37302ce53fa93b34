"""Every software profile loads and says where its numbers are from, and no number is without an effect."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from simulator.assemble.run import Inputs, Run
from simulator.config.yaml_file import read_yaml, validate_mapping
from simulator.data import folder, names
from simulator.engine.demand import Record
from simulator.errors import InputError
from simulator.experiment.schema import Experiment
from simulator.machine.hardware import load_hardware
from simulator.machine.software import SoftwareProfile, load_software
from simulator.model.load import load_model
from simulator.model.spec import ModelSpec
from simulator.trace.core import Trace, TraceHeader
from tests.machine.engine_code import FULL, GRAPHS, numbers, profile
from tests.places import ROOT

SHIPPED = names("software_profiles")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_profile_is_complete(name: str) -> None:
    found = load_software(name)
    assert found.name == name
    assert len(found.title) >= 10
    sourced = list(numbers(found.model_dump()))
    assert all(len(number["source"]) >= 7 for _, number in sourced)
    assert bool(sourced) == (name != "ideal")


# -- an effect of every number ------------------------------------------------------------------------

L, E, TOKENS = 3, 6, 8
# With a dense layer and shared experts: a run has every kind of operation.
MODEL = ModelSpec.model_validate(
    load_model("deepseek-v2-lite").model_dump() | {"n_model_layers": L + 1, "n_experts": E, "top_k": 2}
)
RUNS: dict[str, dict[str, Any]] = {
    "has all experts": {
        "precision": {"experts": ["Q4_0"]},
        "memory": {"gpu_expert_cache": {"fraction": 1.0}},
    },
    "writes back": {"precision": {"experts": ["Q4_0"]}, "runtime": {"tiers": "exclusive"}},
    "loads experts": {"precision": {"experts": ["Q4_0"], "dense": "Q8_0"}},
    "loads experts at another precision": {"precision": {"experts": ["Q8_0"]}},
    "computes them on the CPU": {"precision": {"experts": ["Q4_0"]}, "policies": {"placement": "cpu"}},
    "computes them so at another precision": {
        "precision": {"experts": ["Q8_0"]},
        "policies": {"placement": "cpu"},
    },
}
CODES = {"without graphs": profile(), "with graphs": profile(GRAPHS)}


@cache
def trace() -> Trace:
    """Return a prompt of two tokens and decoded ones, their experts drawn at random."""
    draw = np.random.default_rng(0)
    experts = np.array([[draw.permutation(E)[:2] for _ in range(L)] for _ in range(TOKENS)], np.int16)
    header = TraceHeader(
        model="m",
        n_layers=L,
        n_experts=E,
        top_k=2,
        moe_layers=(1, 2, 3),
        n_model_layers=L + 1,
        recorder="test",
    )
    row = np.arange(TOKENS, dtype=np.int32)
    return Trace(header, 0 * row, row, (row >= 2).astype(np.uint8), experts, None)


def played(run: str, software: SoftwareProfile) -> list[Record]:
    """Return the records of a small run."""
    experiment = Experiment.model_validate(
        {"name": "e", "model": "m", "hardware": "h", "trace": "t"}
        | {"memory": {"gpu_expert_cache": {"experts_per_layer": 2}}}
        | RUNS[run]
    )
    inputs = Inputs(experiment, MODEL, load_hardware("rtx4090-pcie4"), software, trace(), seed=0)
    found = Run(inputs)
    records: list[Record] = []
    found.simulation(lambda _, record: records.append(replace(record))).run(found.workload)
    return records


@cache
def before(code: str) -> dict[str, list[Record]]:
    return {run: played(run, CODES[code]) for run in RUNS}


def cells(value: Any) -> list[tuple[str, ...]]:
    return [(key,) for key in value] if isinstance(value, dict) else [()]


UNUSED = ("with graphs", "issue.start")  # a node's time takes its place


def other(value: Any) -> Any:
    """Return another number of the same kind: half a share, else twice as much."""
    if isinstance(value, str):
        amount, unit = value.split()
        return f"{2 * int(amount)} {unit}"
    return value / 2 if value < 1 else 2 * value


ALL = [
    (code, key, cell)
    for code, software in CODES.items()
    for key, number in numbers(software.model_dump(mode="json", exclude_none=True))
    for cell in cells(number["value"])
    if (code, key) != UNUSED
]


def test_every_section_is_tried() -> None:
    assert {key.partition(".")[0] for _, key, _ in ALL} == {*SoftwareProfile.model_fields} - {
        "name",
        "title",
        "notes",
    }


@pytest.mark.parametrize(("code", "key", "cell"), ALL, ids=str)
def test_every_number_has_an_effect(code: str, key: str, cell: tuple[str, ...]) -> None:
    data = CODES[code].model_dump(mode="json", exclude_none=True)
    number = next(found for name, found in numbers(data) if name == key)
    holder, last = (number["value"], cell[0]) if cell else (number, "value")
    holder[last] = other(holder[last])
    changed = SoftwareProfile.model_validate(data)
    assert any(played(run, changed) != records for run, records in before(code).items())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("issue.graphs", "always"),
        ("issue.graphs_beside_absent", False),
        ("issue.sees_routing", "never"),
        ("copies.blocking", False),
        ("copies.write_back", "in_line"),
        ("unpack.weights", "absent"),
    ],
)
def test_every_switch_has_an_effect(key: str, value: object) -> None:
    changed = profile(GRAPHS | {key: value})
    assert any(played(run, changed) != records for run, records in before("with graphs").items())


@pytest.mark.parametrize("section", [key for key in FULL if key not in ("name", "title")])
def test_a_section_that_is_absent_costs_what_the_hardware_says(section: str) -> None:
    data = copy.deepcopy({key: FULL[key] for key in ("name", "title", section)})
    only = SoftwareProfile.model_validate(data)
    assert any(played(run, only) != played(run, load_software("ideal")) for run in RUNS)


def test_labels_add_up_to_the_nanosecond() -> None:
    for code in CODES:
        for records in before(code).values():
            for one in records:
                spent = one.dense_ns + one.expert_ns + one.cpu_wait_ns + one.overhead_ns + one.host_ns
                assert spent + sum(one.stall_ns) == one.end_ns - one.start_ns
                assert one.host_ns > 0


# -- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"issue.graphs": "decode"}, "issue", "node and graphs disagree"),
        ({"issue.graphs": "sometimes"}, "issue.graphs", "sometimes"),
        ({"copies.memory": "pinned"}, "copies", "host_copy_bandwidth and memory disagree"),
        ({"copies.host_copy_bandwidth.value": "0 B/s"}, "copies", "0 B/s"),
        ({"gpu_kernels.experts.value": {"Q4_0": 0.5}}, "gpu_kernels.experts.value", "no default"),
        ({"gpu_kernels.experts.value": {"default": 1.5}}, "gpu_kernels.experts.value", "1.5"),
        ({"gpu_kernels.experts.value": {"default": 0.5, "fp17": 0.5}}, "gpu_kernels.experts", "fp16"),
        ({"issue.call.value": "10"}, "issue.call.value", "10"),
        ({"issue.call.source": ""}, "issue.call.source", ""),
        ({"issue.kernels.value.gate": -1}, "issue.kernels.value.gate", "-1"),
        ({"issue.kernels.value.gate": None}, "issue.kernels.value.gate", "missing"),
        ({"unpack.bytes_per_weight.value": 0.0}, "unpack.bytes_per_weight.value", "0"),
        ({"books.lokup": 1}, "books.lokup", "lookup"),
    ],
)
def test_bad_content_is_refused_in_one_line(changes: dict[str, Any], where: str, what: str) -> None:
    data = copy.deepcopy(FULL)
    for key, value in changes.items():
        *path, last = key.split(".")
        inner = data
        for part in path:
            inner = inner[part]
        inner[last] = value
        if value is None:
            del inner[last]
    with pytest.raises(InputError) as error:
        validate_mapping(data, SoftwareProfile, "x.yaml", {})
    said = str(error.value)
    assert where in said
    assert what in said
    assert "\n" not in said


def test_files_say_no_more_than_the_schema() -> None:
    for name in SHIPPED:
        read_yaml(folder("software_profiles") / f"{name}.yaml")
    assert {path.stem for path in (ROOT / "software_profiles").glob("*.yaml")} == {*SHIPPED}
