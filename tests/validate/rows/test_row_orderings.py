"""Orderings, worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulator.validate.rows.load import Sourced, load_rows
from simulator.validate.rows.orderings import pairs
from simulator.validate.rows.verdict import Judged
from tests.validate.rows.row_files import row, write_rows


def judged(folder: Path, *rows: tuple[dict[str, Any], float | None]) -> list[Judged]:
    found: list[Sourced] = load_rows(write_rows(folder / "a.yaml", *(given for given, _ in rows)))
    return [Judged(one, simulated) for one, (_, simulated) in zip(found, rows, strict=True)]


def said(found: list[Judged]) -> list[tuple[str, str, bool]]:
    return [
        (pair.larger.sourced.row.id, pair.smaller.sourced.row.id if pair.smaller else "", pair.agrees)
        for pair in pairs(found)
    ]


def test_all_pairs_of_a_group_count(tmp_path: Path) -> None:
    rows = judged(
        tmp_path,
        (row(id="a", value=3, ordering="systems"), 5.0),
        (row(id="b", value=2, ordering="systems"), 6.0),
        (row(id="c", value=1, ordering="systems"), 4.0),
    )
    assert said(rows) == [("a", "b", False), ("a", "c", True), ("b", "c", True)]


def test_groups_quantities_and_rows_without_a_group_are_apart(tmp_path: Path) -> None:
    time = {"quantity": "seconds_per_token", "unit": "s"}
    rows = judged(
        tmp_path,
        (row(id="a", value=3, ordering="one"), 5.0),
        (row(id="b", value=2, ordering="other"), 6.0),
        (row(id="c", value=1, ordering="one", **time), 4.0),
        (row(id="d", value=1), 4.0),
    )
    assert said(rows) == []


def test_what_was_measured_within_one_percent_has_no_order(tmp_path: Path) -> None:
    rows = judged(
        tmp_path,
        (row(id="a", value=100, ordering="x"), 1.0),
        (row(id="b", value=99, ordering="x"), 2.0),
        (row(id="c", value=98.9, ordering="x"), 3.0),
    )
    assert said(rows) == [("a", "c", False)]


def test_a_refused_row_and_a_tie_agree_with_none(tmp_path: Path) -> None:
    rows = judged(
        tmp_path,
        (row(id="a", value=3, ordering="x"), None),
        (row(id="b", value=2, ordering="x"), 2.0),
        (row(id="c", value=1, ordering="x"), 2.0),
    )
    assert said(rows) == [("a", "b", False), ("a", "c", False), ("b", "c", False)]


def test_a_ratio_is_a_pair_of_its_sides(tmp_path: Path) -> None:
    def ratio(name: str, value: float) -> dict[str, Any]:
        return row(id=name, value=value, unit="times", over={"set": {}})

    rows = judged(
        tmp_path,
        (ratio("a", 2), 1.1),
        (ratio("b", 0.5), 1.1),
        (ratio("c", 1.005), 0.5),
        (ratio("d", 2), None),
        (ratio("e", 2), 1.0),
    )
    assert said(rows) == [("a", "", True), ("b", "", False), ("d", "", False), ("e", "", False)]
