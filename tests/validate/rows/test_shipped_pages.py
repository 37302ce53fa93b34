"""The pages measured.md and published.md have the rows that are shipped, and README says what they say."""

from __future__ import annotations

import re
from statistics import median

import pytest

from simulator.validate.rows.load import load_rows, shipped
from tests.places import ROOT

KINDS = ("measured", "published")
Cells = list[list[str]]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def table(page: str, heading: str) -> Cells:
    """Return the cells of the table under a heading, its head left out."""
    part = text(page).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines][1:]


def rows_of(kind: str) -> Cells:
    page = f"docs/background/{kind}.md"
    return table(page, "More than 30 % off") + table(page, "Within 30 %")


def errors_of(kind: str) -> dict[str, list[str]]:
    """Return by kind of row: how many, how many refused, the median error, the share within 30 %."""
    return {line[0]: line[1:] for line in table(f"docs/background/{kind}.md", "Error by kind")}


def orderings_of(kind: str) -> str:
    part = text(f"docs/background/{kind}.md").split("\n## Orderings\n")[1]
    return " of ".join(re.findall(r"(\d+) of (\d+) pairs", part)[0])


def speeds(kind: str, prefixes: list[str], *, others: bool = False) -> tuple[str, str, str]:
    """Return of some rows (or all others) how many decode speeds, the median error, the share within 30 %."""
    rows = [row for row in rows_of(kind) if row[1] == "decode speed"]
    errors = [abs(float(row[5]) - 1) for row in rows if row[0].startswith(tuple(prefixes)) != others]
    near = sum(error <= 0.3 for error in errors) / len(errors)
    return str(len(errors)), f"{median(errors):.0%}".replace("%", " %"), f"{near:.0%}".replace("%", " %")


def fitted_to(kind: str) -> list[str]:
    """Return the prefixes of the rows that software profiles were fitted to, as validation.md has them."""
    line = re.findall(rf"^- {kind}: (.*)$", text("docs/background/validation.md"), re.MULTILINE)[0]
    return re.findall(r"`([^`]+)`", line)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_the_rows_as_they_are_shipped(kind: str) -> None:
    """``moesim validate KIND -o OUT`` writes it: OUT/report.md."""
    there = {row[0]: row for row in rows_of(kind)}
    assert there.keys() == {one.row.id for one in load_rows(shipped(kind))}
    for one in load_rows(shipped(kind)):
        cells = there[one.row.id]
        assert cells[1:3] == [one.row.kind, one.row.unit]
        published, simulated, ratio = (float(cell.replace(",", "")) for cell in cells[3:6])
        assert published == pytest.approx(one.row.value, rel=6e-3)
        assert ratio == pytest.approx(simulated / published, rel=2e-2)
        assert (abs(ratio - 1) > 0.3) == (len(cells) == 7)
        assert cells[6:] in ([], [one.row.why])


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_within_30_percent_has_a_cause_and_every_other_has_one(kind: str) -> None:
    off = {row[0] for row in rows_of(kind) if len(row) == 7}
    assert {one.row.id for one in load_rows(shipped(kind)) if one.row.why} == off


@pytest.mark.parametrize("kind", KINDS)
def test_the_errors_by_kind_are_those_of_the_rows(kind: str) -> None:
    for name, (rows, _, middle, near) in errors_of(kind).items():
        errors = [abs(float(row[5]) - 1) for row in rows_of(kind) if name in {row[1], "all"}]
        assert len(errors) == int(rows)
        assert median(errors) == pytest.approx(float(middle[:-2]) / 100, rel=6e-3, abs=6e-3)
        inside = sum(error <= 0.3 for error in errors) / len(errors)
        assert inside == pytest.approx(float(near[:-2]) / 100, abs=6e-3)


def test_validation_tells_rows_that_were_fitted_to_from_others() -> None:
    began = [name for name in fitted_to("measured") if not name.startswith("davetha")]
    expected = {
        "measured, of engines that were fitted to": speeds("measured", fitted_to("measured")),
        "measured, of others": speeds("measured", fitted_to("measured"), others=True),
        "published, of systems that were fitted to": speeds("published", fitted_to("published")),
        "published, of others": speeds("published", fitted_to("published"), others=True),
        "measured, of the sources that we began with": speeds("measured", [*began, "llama-cpp-27861-"]),
    }
    said = table("docs/background/validation.md", "Speeds that others measured or published")
    assert {row[0]: tuple(row[1:]) for row in said} == expected


def test_the_readme_says_what_the_pages_say() -> None:
    readme = " ".join(text("README.md").split())
    measured, published = errors_of("measured"), errors_of("published")
    table_ = table("docs/background/validation.md", "Speeds that others measured or published")
    fitted, others, systems, rest, began = table_
    rows, _, middle, near = measured["decode speed"]
    assert f"{rows} decode speeds are {middle} off (median), and {near} of them are within 30 %" in readme
    assert f"the {fitted[1]} that software profiles were fitted to it is {fitted[2]}" in readme
    assert f"for the {others[1]} others {others[2]}, for the {began[1]} of the sources" in readme
    assert f"we began with {began[2]}. Prompt speeds are {measured['prompt speed'][2]} off." in readme
    assert f"{orderings_of('measured')} orderings agree. - **Beside published" in readme
    rows, _, middle, _ = published["decode speed"]
    assert f"ratios of decode speeds are {published['decode speed, ratio'][2]} off, {rows} decode" in readme
    assert f"{middle} ({systems[1]} of them were fitted to; the {rest[1]} others are {rest[2]} off)" in readme
    assert f"ratios of prompts {published['prompt latency, ratio'][2]}. " in readme
    assert f"{orderings_of('published')} orderings agree. - **No run" in readme
    worst = max(float(row[5]) for row in rows_of("measured"))
    assert f"worst row | {worst:.0f} times as high |" in text("docs/background/validation.md")
