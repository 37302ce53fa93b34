"""An option that has no effect is refused in one line, whatever else was given."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.cli.effects import IDLE
from tests.command_line import refused

VALUES = {
    "--scheduler": ["tcp://host:8786"],
    "--jobs": ["2"],
    "--force": [],
    "--temperature": ["0.8"],
    "--top-p": ["0.95"],
    "--seed": ["0"],
    "--fit-tokens": ["64"],
    "--folder": ["."],
}
"""What an option is given here: often its default, which is given all the same."""
REQUIRED = {
    "run": ["quickstart"],
    "compare": ["results"],
    "trace fetch": ["olmoe"],
    "trace record": ["--model", "m", "--prompts", "p", "-o", "t.parquet"],
    "validate phone": ["-o", "out"],
    "validate reference": ["-o", "out"],
}
RULES = [(command, rule) for command, rules in IDLE.items() for rule in rules]


@pytest.mark.parametrize(("command", "rule"), RULES, ids=[f"{command} {rule}" for command, rule in RULES])
def test_an_idle_option_is_refused(tmp_path: Path, command: str, rule: str) -> None:
    option, word, other = rule.split(" ", 2)
    words = [*command.split(), *REQUIRED[command], option, *VALUES[option]]
    if command == "trace record" and "--decode" not in other:
        words += ["--decode", "8"]
    line = refused(tmp_path, *words, *(other.split() if word == "with" else []))
    assert line == f"moesim: {option}: has no effect {word} {other}; leave it out"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compare", "none", "--force", "--out", "t.txt"], "none"),
        (["run", "none.yaml", "--backend", "local", "--jobs", "2"], "none.yaml"),
        (
            ["validate", "phone", "-o", "out", "--fit-trace", "a", "--fit-metrics", "b", "--fit-tokens", "9"],
            "a",
        ),
        (["validate", "reference", "-o", "out", "--no-gpu", "--folder", ".", "--trace", "none"], "none"),
        (["trace", "fetch", "none", "--force", "-o", "x.parquet"], "none"),
    ],
)
def test_with_what_they_need_they_are_taken(tmp_path: Path, words: list[str], says: str) -> None:
    line = refused(tmp_path, *words)
    assert "no effect" not in line
    assert says in line


@pytest.mark.parametrize("option", ["--tokens", "--sequences", "--layers", "--phase"])
def test_an_empty_choice_of_a_slice_is_no_choice(tmp_path: Path, option: str) -> None:
    line = refused(
        tmp_path, "trace", "slice", "t.parquet", "-o", "s.parquet", "--without", "predictions", option, ""
    )
    assert line.startswith(f"moesim: {option}: ''")
