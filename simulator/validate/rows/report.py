"""The page about rows: the bad ones first, each with what is in its way."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from simulator import __version__
from simulator.numerals import three_digits
from simulator.validate.rows.orderings import Pair
from simulator.validate.rows.table import reason
from simulator.validate.rows.verdict import Judged, KindError

HEAD = """# {title}

Written by `{command}` (moesim {version}); every number is this command's.
It has {rows} rows of {sources} sources: {near} within 30 %, {off} further off, {refused} refused.
A row that is refused counts as one that is off.

The error of a row is |simulated / published - 1|. Software profiles and stand-ins for routing were
fitted to some rows: their files say to which.
What was assumed stands under its [source](#sources). [How to add a row](../guides/validation-rows.md).
"""
NO_WHY = "**no cause is given**"


def page(
    title: str,
    command: str,
    judged: Sequence[Judged],
    errors: Sequence[KindError],
    ordered: Sequence[Pair],
) -> str:
    """Return the page in Markdown."""
    verdicts = [one.verdict for one in judged]
    bad = sorted((one for one in judged if one.verdict != "within 30 %"), key=_badness)
    text = [
        HEAD.format(
            title=title,
            command=command,
            version=__version__,
            rows=len(judged),
            sources=len({one.sourced.document.path for one in judged}),
            near=verdicts.count("within 30 %"),
            off=verdicts.count("off"),
            refused=verdicts.count("refused"),
        )
    ]
    text += ["## Error by kind\n", *_errors(errors)]
    text += ["\n## Orderings\n", *_orderings(ordered)]
    if bad:
        text += ["\n## More than 30 % off\n", *_table(bad, whys=True)]
    if good := [one for one in judged if one.verdict == "within 30 %"]:
        text += ["\n## Within 30 %\n", *_table(good, whys=False)]
    text += ["\n## Sources\n", *_sources(judged)]
    return "\n".join(text).rstrip() + "\n"


def _badness(one: Judged) -> float:
    return -abs(math.log(one.ratio)) if one.ratio else -math.inf


def _errors(errors: Iterable[KindError]) -> list[str]:
    lines = ["| kind | rows | refused | median error | within 30 % |", "|---|---:|---:|---:|---:|"]
    for e in errors:
        median = f"{e.median:.0%}" if math.isfinite(e.median) else "refused"
        lines.append(f"| {e.kind} | {e.rows} | {e.refused} | {median} | {e.near:.0%} |")
    return [
        line.replace("%", " %") if line.startswith("| ") and "kind" not in line else line for line in lines
    ]


def _orderings(ordered: Sequence[Pair]) -> list[str]:
    if not ordered:
        return ["No two rows have an order."]
    agree = sum(pair.agrees for pair in ordered)
    sides = [pair.agrees for pair in ordered if pair.smaller is None]
    rows = f"{agree - sum(sides)} of {len(ordered) - len(sides)} pairs of rows"
    both = f"{sum(sides)} of {len(sides)} pairs of the two sides of a ratio"
    all_ = f"{agree} of {len(ordered)} pairs are in the published order ({_share(agree, len(ordered))})"
    lines = [f"{all_}: {rows}, and {both}."]
    wrong = [pair for pair in ordered if not pair.agrees]
    if wrong:
        lines += ["", "| ordering | should be more | than | published | simulated |", "|---|---|---|---|---|"]
        lines += [_disagreement(pair) for pair in wrong]
    return lines


def _disagreement(pair: Pair) -> str:
    one, other = pair.larger, pair.smaller
    published = [one.sourced.row.value, other.sourced.row.value if other else 1]
    simulated = [one.simulated, other.simulated if other else 1]
    said = [" to ".join(_number(value) for value in values) for values in (published, simulated)]
    name = other.sourced.row.id if other else "its other side"
    return f"| {_cell(pair.name)} | {one.sourced.row.id} | {name} | {said[0]} | {said[1]} |"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}".replace("%", " %")


def _table(judged: Sequence[Judged], *, whys: bool) -> list[str]:
    heads = [
        "row",
        "what",
        "unit",
        "published",
        "simulated",
        "ratio",
        *(["what is in the way"] if whys else []),
    ]
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---:|---:|---:|" + "---|" * whys]
    for one in judged:
        row = one.sourced.row
        cells = [row.id, row.kind, row.unit, _number(row.value), _number(one.simulated), _number(one.ratio)]
        cells += [_cell(reason(one)) or NO_WHY] if whys else []
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _number(value: float | None) -> str:
    return "refused" if value is None else three_digits(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _sources(judged: Sequence[Judged]) -> list[str]:
    lines: list[str] = []
    files: dict[object, list[Judged]] = defaultdict(list)
    for one in judged:
        files[one.sourced.document.path].append(one)
    for rows in files.values():
        file = rows[0].sourced.file
        where = f", {file.source.where}" if file.source.where else ""
        lines += [f"### {_cell(file.source.title)}\n", f"<{file.source.address}>{where}.", ""]
        lines += [file.notes, ""] if file.notes else []
        lines += [f"Assumed throughout: {'; '.join(file.assumed)}.", ""] if file.assumed else []
        lines += [f"- {_said(one)}" for one in rows]
        lines.append("")
    return lines


def _said(one: Judged) -> str:
    row = one.sourced.row
    assumed = f"; assumed: {'; '.join(row.assumed)}" if row.assumed else ""
    return f"`{row.id}`: {row.where}{assumed}"
