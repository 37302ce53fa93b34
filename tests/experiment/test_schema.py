"""``moesim schema`` prints what the reader of files takes: both accept and refuse the same."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from simulator import data
from simulator.cli.lists import schema
from simulator.config.units import BYTES, NANOSECONDS, Bytes, Nanoseconds, quantity_schema
from simulator.config.yaml_file import parse_yaml, read_yaml, validate_mapping
from simulator.errors import InputError
from simulator.experiment.sweep import expand
from simulator.machine.hardware import HardwareProfile
from simulator.machine.software import SoftwareProfile
from simulator.model.spec import ModelSpec
from tests.command_line import GOOD, moesim
from tests.failing import copied
from tests.machine.engine_code import FULL, made
from tests.places import WHOLE_PROFILE

jsonschema = pytest.importorskip("jsonschema")
KINDS = {
    "experiments": "experiment",
    "hardware_profiles": "hardware",
    "software_profiles": "software",
    "models": "model",
}
MODELS: dict[str, Any] = {"hardware": HardwareProfile, "software": SoftwareProfile, "model": ModelSpec}
SHIPPED = [(kind, name) for kind in KINDS for name in data.names(kind)]  # type: ignore[arg-type]
NO_MACHINE = GOOD.replace("hardware: rtx3060-12gb-pcie4\n", "")
AIMED = "tune: {parameters: {a: {low: 1, high: 2}}, maximise: x"
BASE = "extends: base.yaml\nname: child\n"

EXPERIMENTS: dict[str, tuple[str, bool]] = {
    "a size": (GOOD, True),
    "a size with an exponent": (GOOD.replace("2 GiB", "2e3 MB"), True),
    "a size of nothing": (GOOD.replace("2 GiB", "0"), True),
    "a fraction": (GOOD.replace("2 GiB", "{fraction: 0.5}"), True),
    "a size as resolved": (GOOD.replace("2 GiB", "{bytes: 2147483648 B}"), True),
    "no unit": (GOOD.replace("2 GiB", "2"), False),
    "a wrong unit": (GOOD.replace("2 GiB", "2 GHz"), False),
    "two sizes": (GOOD.replace("2 GiB", "{fraction: 0.5, experts_per_layer: 3}"), False),
    "an empty size": (GOOD.replace("2 GiB", "{fraction: ~}"), False),
    "no size": (GOOD.replace("2 GiB", "{}"), False),
    "no cache": (GOOD.replace("2 GiB", "~"), True),
    "overhead of 0": (GOOD + "runtime: {overhead: {per_pass: 0, load_rate: 0}}", True),
    "overhead of 0 in words": (GOOD + "runtime: {overhead: {per_pass: '0', load_rate: 0 B/s}}", True),
    "an exponent with a unit": (GOOD + "runtime: {overhead: {per_pass: 1e3 ns}}", True),
    "a negative time": (GOOD + "runtime: {overhead: {per_pass: -1 ns}}", False),
    "underscores": (GOOD + "runtime: {read_block: 4_096 B}", True),
    "a unit in a number's place": (GOOD + "runtime: {parts: 2 B}", False),
    "a precision in small letters": (GOOD + "precision: {experts: [main, q4_k_m], dense: FP16}", True),
    "an unknown precision": (GOOD + "precision: {experts: [fp17]}", False),
    "a mix where none goes": (GOOD + "precision: {dense: Q4_K_M}", False),
    "an empty section": (GOOD + "policies: ~", False),
    "a word for true": (GOOD.replace("{max_sequences: 1}", "{mixed: yes}"), False),
    "one for true": (GOOD.replace("{max_sequences: 1}", "{mixed: 1}"), False),
    "true for one": (GOOD.replace("{max_sequences: 1}", "{max_sequences: true}"), False),
    "an unknown key": (GOOD + "modle: x", False),
    "two to learn from": (GOOD + "training_trace: a\ntraining_share: 0.5", False),
    "one to learn from": (GOOD + "training_trace: ~\ntraining_share: 0.5", True),
    "no machine": (NO_MACHINE, False),
    "the sweep names the machine": (
        NO_MACHINE + "sweep: {grid: {hardware: [rtx3060-12gb-pcie4]}}",
        True,
    ),
    "the sweep lists the machine": (
        NO_MACHINE + "sweep: {list: [{hardware: rtx3060-12gb-pcie4}]}",
        True,
    ),
    "the sweep lists it for some": (
        NO_MACHINE
        + "sweep: {list: [{hardware: rtx3060-12gb-pcie4}, {trace: olmoe-mini}]}",
        False,
    ),
    "no name": (GOOD.replace("name: good\n", ""), False),
    "an empty grid": (GOOD + "sweep: {grid: {workload.batch_size: []}}", False),
    "a seed in quotes": (GOOD + "sweep: {seeds: ['1']}", False),
    "tune": (GOOD + "tune: {parameters: {a.b: {low: 1, high: 2}}, maximise: x}", True),
    "tune with two aims": (GOOD + AIMED + ", minimise: y}", False),
    "tune without one": (GOOD + "tune: {parameters: {a: {low: 1, high: 2}}}", False),
    "a range with one end": (GOOD + "tune: {parameters: {a: {low: 1}}, maximise: x}", False),
    "a range of choices": (
        GOOD + "tune: {parameters: {a: {low: 1, high: 2, choices: [1, 2]}}, maximise: x}",
        False,
    ),
    "trials in quotes": (
        GOOD + "tune: {trials: '3', parameters: {a: {low: 1, high: 2}}, maximise: x}",
        False,
    ),
    "extending, and no more": (BASE, True),
    "extending with nulls": (BASE + "memory: {gpu_expert_cache: ~}\nworkload: ~", True),
    "extending one of two": (BASE + "memory: {gpu_expert_cache: {fraction: 0.5}}", True),
    "extending with an unknown key": (BASE + "modle: ~", False),
    "extending with a wrong value": (BASE + "workload: {batch_size: 0}", False),
    "extending nothing": ("extends: ~\n" + GOOD, False),
}  # fmt: skip


@cache
def printed(kind: str) -> Any:
    """Return a validator of what the command prints."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        schema(kind)
    found = json.loads(out.getvalue())
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.parametrize(("kind", "name"), SHIPPED, ids=[name for _, name in SHIPPED])
def test_every_shipped_file_is_valid(kind: Any, name: str) -> None:
    found = read_yaml(data.folder(kind) / f"{name}.yaml").data
    assert not [error.message for error in printed(KINDS[kind]).iter_errors(found)]


@pytest.mark.parametrize(("text", "right"), EXPERIMENTS.values(), ids=EXPERIMENTS.keys())
def test_schema_and_reader_agree_on_experiments(tmp_path: Path, text: str, right: bool) -> None:
    (tmp_path / "base.yaml").write_text(GOOD)
    (tmp_path / "e.yaml").write_text(text)
    document = read_yaml(tmp_path / "e.yaml")
    assert printed("experiment").is_valid(document.data) == right
    if right:
        assert expand(document)
    else:
        with pytest.raises(InputError):
            expand(document)


@pytest.mark.parametrize(
    ("kind", "name", "changes", "right"),
    [
        ("hardware", "whole", {"compute.gpu.launch.value": 0}, True),
        ("hardware", "whole", {"compute.gpu.launch.value": "5e3 ns"}, True),
        ("hardware", "whole", {"compute.gpu.launch.value": "5 GiB"}, False),
        ("hardware", "whole", {"compute.gpu.launch.measured": "no"}, False),
        ("hardware", "whole", {"compute.gpu.launch.measured": 0}, False),
        ("hardware", "whole", {"compute.gpu.compute_efficiency.value": "0.5"}, False),
        ("hardware", "whole", {"compute.gpu.compute_efficiency.value": 1.5}, False),
        ("hardware", "whole", {"links.gpu_to_ssd": {}}, False),
        ("software", "ideal", {"books": FULL["books"], "copies": FULL["copies"]}, True),
        ("software", "ideal", {"issue": FULL["issue"], "cpu_experts": FULL["cpu_experts"]}, True),
        ("software", "ideal", {"books": FULL["books"] | {"lookup": 5}}, False),
        ("software", "ideal", {"books": {}}, False),
        ("software", "ideal", {"issue": FULL["issue"] | {"graphs": "sometimes"}}, False),
        ("software", "ideal", {"unpack": FULL["unpack"] | {"launches": made(-1)}}, False),
        ("model", "olmoe-1b-7b", {"main_precision": "q4_k_m"}, True),
        ("model", "olmoe-1b-7b", {"main_precision": "fp17"}, False),
        ("model", "olmoe-1b-7b", {"dense_precision": "Q4_K_M"}, False),
        ("model", "olmoe-1b-7b", {"hidden": "2048"}, False),
        ("model", "olmoe-1b-7b", {"hidden": 0}, False),
        ("model", "olmoe-1b-7b", {"tied_embeddings": "yes"}, False),
        ("model", "olmoe-1b-7b", {"expert_matrices": 4}, False),
        ("model", "olmoe-1b-7b", {"attention": {"heads": 16, "kv_heads": 16, "head_dim": 128}}, False),
        ("model", "olmoe-1b-7b", {"moe_layer_list": None}, True),
    ],
)
def test_schema_and_reader_agree_on_models_and_machines(
    kind: str, name: str, changes: dict[str, Any], right: bool
) -> None:
    folder = {word: folder for folder, word in KINDS.items()}[kind]
    file = WHOLE_PROFILE if kind == "hardware" else data.folder(folder) / f"{name}.yaml"  # type: ignore[arg-type]
    found = read_yaml(file).data
    for key, value in changes.items():
        *path, last = key.split(".")
        inside = found
        for step in path:
            inside = inside[step]
        inside[last] = value
    assert printed(kind).is_valid(found) == right
    try:
        validate_mapping(found, MODELS[kind], "f.yaml")
    except InputError:
        assert not right
    else:
        assert right


@settings(max_examples=400, deadline=None)
@example("0").via("no unit")
@example("-0.0 B").via("nothing, with a sign")
@example("1__0 B").via("two underscores")
@example("1e3ns").via("no space")
@given(st.text(alphabet="0123456789._eE+- kMGiBnusµ", max_size=9))
def test_schema_and_reader_agree_on_quantities(text: str) -> None:
    for kind, dimension in ((Bytes, BYTES), (Nanoseconds, NANOSECONDS)):
        read = TypeAdapter(kind)
        try:
            read.validate_python(text)
            right = True
        except ValidationError as error:
            if "less than half" in str(error):  # a number's size is beyond a pattern
                continue
            right = False
        assert jsonschema.Draft202012Validator(quantity_schema(dimension)).is_valid(text) == right


@pytest.mark.parametrize("name", ["size", "zero", "exponent"])
def test_what_was_run_is_valid(tmp_path: Path, name: str) -> None:
    file = copied("f07", tmp_path) / f"{name}.yaml"
    assert printed("experiment").is_valid(parse_yaml(file.read_text(), name))
    done = moesim(file.parent, "run", f"./{name}.yaml", "--out", f"out-{name}")
    assert done.returncode == 0, done.stderr
