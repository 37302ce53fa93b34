"""A file is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.whole import whole


@pytest.fixture
def private() -> Iterator[None]:
    """Have new files be their owner's alone."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_what_was_there_stays_until_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    out.write_text("old")
    with whole(out) as aside:
        aside.write_text("new")
        assert out.read_text() == "old"
    assert out.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    out.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole(out) as aside:  # noqa: PT012 - a half is written first
        aside.write_text("half")
        raise KeyboardInterrupt
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


@pytest.mark.usefixtures("private")
def test_who_may_read_it_is_for_the_umask_to_say(tmp_path: Path) -> None:
    with whole(tmp_path / "mine") as aside:
        aside.write_text("secret")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    out = tmp_path / ("x" * 255)
    with whole(out) as aside:
        aside.write_text("long")
    assert out.read_text() == "long"
