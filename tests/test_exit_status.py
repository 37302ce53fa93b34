"""Exit statuses of every command that there is: 0 done, 2 bad input in one line (docs/design.md)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from simulator.cli import app, main


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Iterate over the words of all commands, groups left out."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name)


ALL = list(commands(typer.main.get_command(app)))


def status(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    monkeypatch.setattr(sys, "argv", ["moesim", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


def test_all_commands_are_tried() -> None:
    assert len(ALL) == 28
    assert ("trace", "slice") in ALL


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_command_helps_and_refuses(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(monkeypatch, *words, "--help") == 0
    assert capsys.readouterr().err == ""
    needs_nothing = words in (("schema",), ("hardware", "detect"))
    for wrong in (["--no-such-option"], ["none"] if needs_nothing else []):
        assert status(monkeypatch, *words, *wrong) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("moesim: ")
        assert said.err.count("\n") == 1
