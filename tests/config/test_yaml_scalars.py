"""Scalars are those of the core schema of YAML 1.2, in files and after ``--set``.

https://yaml.org/spec/1.2.2/#103-core-schema has the patterns; the values below follow from them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.registry import create
from simulator.config.yaml_file import dump_yaml, parse_yaml, read_yaml, validate_mapping
from simulator.errors import InputError
from simulator.experiment.schema import Experiment
from simulator.experiment.sweep import parse_set
from tests.command_line import experiment, moesim, refused

VALUES: dict[str, Any] = {
    "10": 10, "010": 10, "-07": -7, "+8": 8, "0o17": 15, "0x1F": 31, "08": 8,
    "1:30": "1:30", "1_000": "1_000", "0b11": "0b11", "-0o7": "-0o7", "0O7": "0O7",
    "5e9": 5e9, "1e-4": 1e-4, "010.5": 10.5, ".5": 0.5, "1.": 1.0, "+1.5E+3": 1500.0, "1:30.5": "1:30.5",
    "-.inf": -math.inf, ".INF": math.inf, "inf": "inf",
    "true": True, "False": False, "TRUE": True, "yes": "yes", "No": "No", "on": "on", "OFF": "OFF", "y": "y",
    "~": None, "null": None, "NULL": None, "": None, "nUll": "nUll", "none": "none",
    "2026-11-26": "2026-11-26", "2026-11-26T10:00:00Z": "2026-11-26T10:00:00Z", "=": "=", "'010'": "010",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), VALUES.items(), ids=VALUES.keys())
def test_a_scalar_is_what_yaml_1_2_says(tmp_path: Path, text: str, value: object) -> None:
    (tmp_path / "f.yaml").write_text(f"key: {text}\nlist: [{text or '~'}]\n")
    found = read_yaml(tmp_path / "f.yaml").data
    for one in (found["key"], found["list"][0], parse_set(f"key={text}")[1]):
        assert (type(one), one) == (type(value), value)


def test_not_a_number_is_one_as_yaml_writes_it() -> None:
    assert math.isnan(parse_yaml(".nan", "--set x"))
    assert parse_yaml("nan", "--set x") == "nan"


@pytest.mark.parametrize("text", [*VALUES, "a: b", "#", "- x", "<<", "1e5"])
def test_what_is_written_is_read_back_the_same_by_both_versions(tmp_path: Path, text: str) -> None:
    data = {"word": text, "value": VALUES.get(text)}
    (tmp_path / "f.yaml").write_text(dump_yaml(data))
    assert read_yaml(tmp_path / "f.yaml").data == data
    assert yaml.safe_load(dump_yaml(data)) == data


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("!!timestamp 2026-11-26", "timestamp"),
        ("!!int 1:30", "not a whole number: '1:30'"),
        ("!!float x", "not a number"),
        ("!!bool yes", "not true or false"),
        ("!!binary aGk=", "binary"),
        ("{a: 1, a: 2}", "duplicate key"),
        ("{<<: {a: 1}}", "merge key"),
    ],
)
def test_other_kinds_of_scalars_are_refused_in_a_file_and_a_setting(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "f.yaml").write_text(f"key: {text}\n")
    with pytest.raises(InputError, match=says):
        read_yaml(tmp_path / "f.yaml")
    with pytest.raises(InputError, match=rf"^--set key: .*{says}"):
        parse_set(f"key={text}")


def test_seeds_are_decimal_and_no_times(tmp_path: Path) -> None:
    line = refused(tmp_path, "run", experiment(tmp_path), "--set", "sweep.seeds=[1:30]", "--out", "out")
    assert "sweep.seeds.0" in line
    assert "'1:30'" in line
    done = moesim(tmp_path, "run", experiment(tmp_path), "--set", "sweep.seeds=[010]", "--out", "out")
    assert done.returncode == 0, done.stderr
    header, row = (tmp_path / "out/summary.csv").read_text().splitlines()[:2]
    assert row.split(",")[header.split(",").index("seed")] == "10"


@pytest.mark.parametrize(("word", "meant"), [("yes", "true"), ("Off", "false")])
def test_yes_is_a_word_and_the_message_says_what_to_write(tmp_path: Path, word: str, meant: str) -> None:
    line = refused(tmp_path, "run", experiment(tmp_path), "--set", f"workload.mixed={word}", "--out", "out")
    assert (
        f"--set workload.mixed: input should be a valid boolean ('{word}'); write {meant}; YAML 1.2" in line
    )
    with pytest.raises(InputError, match=f"adaptive: '{word}'; write {meant}; YAML 1.2"):
        create("prefetch", {"name": "gate-lookahead", "adaptive": word})


@pytest.mark.parametrize("value", [1, 0, "true", 1.0])
def test_nothing_else_is_taken_for_true_or_false(value: object) -> None:
    given = {"name": "x", "model": "m", "hardware": "h", "trace": "t", "workload": {"mixed": value}}
    with pytest.raises(
        InputError, match=r"workload\.mixed: input should be a valid boolean .*write true or false"
    ):
        validate_mapping(given, Experiment, "f.yaml")
