"""The rows that are shipped: they plan, and the pages about them are these rows', each with its cause."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulator.numerals import three_digits
from simulator.trace.synth.levers import Target
from simulator.trace.synth.like import measure_drawn
from simulator.trace.synth.published import load_published
from simulator.trace.synth.shape import header_of
from simulator.validate.rows.load import KINDS, Kind, load_rows, shipped
from simulator.validate.rows.plan import Planner
from simulator.validate.rows.report import NO_WHY
from simulator.validate.rows.routing import find_routing, routing_names
from tests.command_line import moesim
from tests.places import ROOT

THERE = [kind for kind in KINDS if list(shipped(kind).glob("*.yaml"))]
NEAR = 0.06
LENGTHS = {"sequences": 16, "prefill": 0, "decode": 512}


def page(kind: Kind) -> str:
    return (ROOT / "docs" / "background" / f"{kind}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", THERE)
def test_every_row_plans(kind: Kind, tmp_path: Path) -> None:
    planner = Planner(tmp_path)
    planned = [planner.plan(one) for one in load_rows(shipped(kind))]
    assert len(planned) >= {"published": 80, "measured": 1}[kind]


@pytest.mark.parametrize("kind", THERE)
def test_the_page_has_the_rows_with_what_was_published(kind: Kind) -> None:
    cells = [line.strip("| ").split(" | ") for line in page(kind).splitlines() if line.startswith("| ")]
    said = {row[0]: row[3] for row in cells if len(row) in (6, 7)}
    said.pop("row")
    assert said == {one.row.id: three_digits(one.row.value) for one in load_rows(shipped(kind))}


@pytest.mark.parametrize("kind", THERE)
def test_a_row_that_is_off_says_why(kind: Kind) -> None:
    found = page(kind)
    assert NO_WHY not in found
    bad = found.split("## More than 30 % off")[1].split("\n## ")[0]
    whys = [
        line.strip("| ").split(" | ")[6] for line in bad.splitlines() if re.match(r"\| [a-z0-9]\S* \|", line)
    ]
    whys.remove("what is in the way")
    assert whys
    assert [why for why in whys if not why.endswith(".")] == []


@pytest.mark.parametrize("name", routing_names())
def test_a_stand_in_has_the_statistics_that_it_names(name: str) -> None:
    published, _ = load_published(str(find_routing(name, ROOT)))
    assert published.fitted is not None, "a fit takes half a minute; write down what it found"
    found = measure_drawn(published.fitted.model_copy(update=LENGTHS), header_of(published.fitted))
    compared = [number for number in published.statistics if number.statistic in found]
    for number in compared:
        target = Target(number.statistic, number.value, number.layer)
        assert abs(target.found(found) - number.value) <= NEAR, number


def test_rows_are_listed(tmp_path: Path) -> None:
    listed = moesim(tmp_path, "list", "rows").stdout
    line = next(line for line in listed.splitlines() if line.startswith("mixtral-offloading-t4-full "))
    assert line.endswith(
        "published: decode speed 2.092 tok/s (Eliseev and Mazur, Mixtral-offloading, Table 2, T4)"
    )
