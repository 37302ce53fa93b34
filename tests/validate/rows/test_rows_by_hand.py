"""Rows on a machine that is worked out on paper: what is simulated, the verdicts, and the files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from simulator.validate.rows.run import validate_rows
from tests.validate.rows.hand_made import hand_made
from tests.validate.rows.row_files import row

TWO = {"memory.gpu_expert_cache": "2 GB"}
"""Both experts fit: only their first uses wait, of the prompt's token and of the first that is decoded."""
ROWS = (
    (row(id="speed", value=1 / 1.1), 1 / 1.1),
    (row(id="time", quantity="seconds_per_token", unit="s", value=1.1), 1.1),
    (row(id="prompt", quantity="prefill_seconds", unit="s", value=1.1), 1.1),
    (row(id="prompt-speed", quantity="prompt_tokens_per_second", unit="tok/s", value=1.0), 1 / 1.1),
    (row(id="waiting", quantity="waiting_share", unit="share", value=0.9), 1 / 1.1),
    (row(id="misses", quantity="miss_penalty", unit="experts", value=1.0), 1.0),
    (row(id="two-speed", value=5.0, set=TWO), 8 / 1.8),
    (row(id="two-hits", quantity="hit_rate", unit="share", value=1.0, set=TWO), 7 / 8),
    (row(id="two-warm", quantity="hit_rate", unit="share", value=1.0, set=TWO, warm=1), 1.0),
    (row(id="ratio", unit="times", value=5.0, set=TWO, over={"set": {}}), 8 / 1.8 * 1.1),
    (row(id="warm-ratio", unit="times", value=5.0, set=TWO, over={"set": {}}, warm=1), 11.0),
)


def test_what_is_simulated_is_what_paper_says(tmp_path: Path) -> None:
    path = hand_made(tmp_path, *(given for given, _ in ROWS))
    judged = validate_rows("published", tmp_path / "out", source=path).judged
    found = {one.sourced.row.id: one.simulated for one in judged}
    assert found == pytest.approx({given["id"]: expected for given, expected in ROWS}, rel=1e-6)


def test_the_verdict_is_by_the_relative_error_and_a_refusal_has_its_reason(tmp_path: Path) -> None:
    rows = (
        row(id="near", value=1 / 1.1 / 1.29),
        row(id="far", value=1 / 1.1 / 1.31, why="It is made up."),
        row(id="slow", value=1 / 1.1 / 0.69),
        row(id="refused", set={"memory.gpu_expert_cache": "1 TB"}),
        row(id="nowhere", set={"memory.gpu_expert_cache": "1 TB"}, why="Nobody has it."),
    )
    validate_rows("published", tmp_path / "out", source=hand_made(tmp_path, *rows))
    with (tmp_path / "out" / "rows.csv").open() as file:
        table = {one["id"]: one for one in csv.DictReader(file)}
    assert [*next(iter(table.values()))] == [
        *("id", "source", "quantity", "unit", "published", "simulated", "ratio", "verdict", "reason")
    ]
    assert {name: (one["ratio"], one["verdict"]) for name, one in table.items()} == {
        "near": ("1.29", "within 30 %"),
        "far": ("1.31", "off"),
        "slow": ("0.69", "off"),
        "refused": ("", "refused"),
        "nowhere": ("", "refused"),
    }
    assert (table["near"]["reason"], table["far"]["reason"]) == ("", "It is made up.")
    assert "does not fit" in table["refused"]["reason"] or "TB" in table["refused"]["reason"]
    assert "does not fit" in table["nowhere"]["reason"]
    assert table["nowhere"]["reason"].endswith("Nobody has it.")
    assert str(tmp_path) not in (tmp_path / "out" / "rows.csv").read_text()


def test_errors_count_a_refused_row_as_a_failure(tmp_path: Path) -> None:
    rows = (
        row(id="a", value=1 / 1.1),
        row(id="b", value=1 / 1.1 / 1.2),
        row(id="c", value=1 / 1.1 / 1.5),
        row(id="d", set={"memory.gpu_expert_cache": "1 TB"}),
        row(id="e", quantity="seconds_per_token", unit="s", value=1.1),
    )
    done = validate_rows("published", tmp_path / "out", source=hand_made(tmp_path, *rows))
    speed, time, every = done.errors
    assert (speed.kind, speed.rows, speed.refused, speed.near) == ("decode speed", 4, 1, 0.5)
    assert speed.median == pytest.approx((0.2 + 0.5) / 2)
    assert (time.kind, time.rows, time.near) == ("time per token", 1, 1.0)
    assert (every.kind, every.rows, every.near) == ("all", 5, 0.6)


def test_the_page_has_the_worst_first_and_says_where_no_cause_is_given(tmp_path: Path) -> None:
    rows = (
        row(id="off-2", value=0.5),
        row(id="off-9", value=0.1, why="Cause of nine."),
        row(id="good", value=0.9),
        row(id="refused", set={"memory.gpu_expert_cache": "1 TB"}),
    )
    page = validate_rows("published", tmp_path / "out", source=hand_made(tmp_path, *rows)).page
    assert page == (tmp_path / "out" / "report.md").read_text()
    bad, good = page.split("## More than 30 % off")[1].split("## Within 30 %")
    assert bad.index("| refused |") < bad.index("| off-9 |") < bad.index("| off-2 |")
    assert bad.split("| off-2 |")[1].split("\n")[0].endswith("| **no cause is given** |")
    assert "| good |" in good.split("## Sources")[0]
    assert "moesim validate published -o OUT --from rows.yaml" in page


def test_what_was_played_is_not_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    before = validate_rows("published", out, source=hand_made(tmp_path, row(), row(id="two", set=TWO)))
    measured = json.loads((out / "runs.json").read_text())
    assert len(measured) == 2
    for name, changed in measured.items():
        measured[name] = changed | {"decode_tokens_per_second": 7.0}
    monkeypatch.setattr("simulator.validate.rows.run._earlier", lambda _: measured)
    again = validate_rows("published", out, source=tmp_path / "rows.yaml")
    assert {one.simulated for one in again.judged} == {7.0}
    monkeypatch.undo()
    (out / "runs.json").write_text(json.dumps(measured))  # not what the manifest says: not believed
    last = validate_rows("published", out, source=tmp_path / "rows.yaml")
    assert [one.simulated for one in last.judged] == [one.simulated for one in before.judged]
