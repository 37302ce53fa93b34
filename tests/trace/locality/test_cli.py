"""``moesim trace locality`` from end to end: table, figures, report and verdict."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from simulator.cli import app
from simulator.errors import InputError
from simulator.plots.locality import draw_locality
from simulator.trace.locality import published
from simulator.trace.locality.analyse import Locality, analyse
from simulator.trace.locality.published import compare, published_rows
from simulator.trace.locality.report import markdown, summary
from simulator.trace.locality.routing import select
from simulator.trace.locality.table import COLUMNS, Row, mean, ratio, to_csv
from simulator.trace.locality.verdict import judge
from simulator.trace.parquet import write_trace
from tests.trace.locality.test_locality import made

PANELS = {"reuse", "lru", "srp", "sch", "next-layer", "popularity", "predictions"}


def run(*arguments: object):
    return CliRunner().invoke(app, ["trace", "locality", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def trace(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("locality") / "t.parquet"
    phases = [0] * 10 + [1] * 30 + [0] * 20
    write_trace(made([40, 20], layers=3, experts=8, ahead=2, phases=phases), path)
    return path


@pytest.fixture(scope="module")
def out(trace) -> Path:
    folder = trace.parent / "out"
    done = run(trace, "--out", folder)
    assert done.exit_code == 0
    assert done.stdout.startswith("m suits") or done.stdout.startswith("m does not")
    assert str(folder / "report.md") in done.stdout
    return folder


def test_a_folder_holds_table_figures_and_report(out):
    top = {"locality.csv", "locality.pdf", "locality.png", "manifest.json", "report.md", "summary.json"}
    assert {path.name for path in out.iterdir()} == top | {"figures"}
    drawn = {path.name for path in (out / "figures").iterdir()}
    assert drawn == {f"{panel}.{form}" for panel in PANELS for form in ("pdf", "png", "csv")}
    rows = list(csv.DictReader((out / "locality.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert {row["phase"] for row in rows} == {"all"}
    lag1 = next(row for row in rows if (row["statistic"], row["layer"], row["lag"]) == ("reuse", "", "1"))
    facts = json.loads((out / "summary.json").read_text())
    assert float(lag1["value"]) == facts["reuse_lag1"]
    assert float(lag1["low"]) <= facts["reuse_lag1"] <= float(lag1["high"])
    assert facts["srp"]["256"] is None
    assert facts["sch"]["16"]["2"] == facts["verdict"]["sch"]
    report = (out / "report.md").read_text()
    assert facts["verdict"]["sentence"] in report
    assert "60 tokens in 2 sequences; 3 MoE layers, 8 experts, k = 2." in report
    assert "2 whole, 20-40 tokens" in report
    assert "Beside" not in report
    assert "synthetic" not in report


def test_figures_show_rows_of_the_table(out):
    table = (out / "locality.csv").read_text().splitlines()
    for name in PANELS:
        head, *shown = (out / "figures" / f"{name}.csv").read_text().splitlines()
        assert head == table[0]
        assert shown
        assert set(shown) < set(table[1:])


def test_the_same_trace_gives_the_same_bytes(trace, out, tmp_path):
    for _ in range(2):  # the second replaces the first
        assert run(trace, "--out", tmp_path / "again").exit_code == 0
    for path in out.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(out)).read_bytes(), path


def test_phase_and_json(trace, tmp_path):
    facts = json.loads(run(trace, "--out", tmp_path / "d", "--phase", "decode", "--json").stdout)
    assert (facts["phase"], facts["tokens"], facts["sequences"]) == ("decode", 30, 1)
    assert facts == json.loads((tmp_path / "d/summary.json").read_text())
    report = (tmp_path / "d/report.md").read_text()
    assert "30 decoded tokens in one sequence" in report
    rows = list(csv.DictReader((tmp_path / "d/locality.csv").read_text().splitlines()))
    sch = [row for row in rows if row["statistic"] == "sch" and row["value"]]
    assert sch
    assert all(row["note"] == "no interval: one sequence" and not row["low"] for row in sch)


def test_other_results_are_not_replaced_unasked(trace, out, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="no results of moesim"):
        run(trace, "--out", tmp_path)
    before = (out / "summary.json").read_bytes()
    with pytest.raises(InputError, match="another run"):
        run(trace, "--out", out, "--phase", "prefill")
    assert (out / "summary.json").read_bytes() == before


def test_bad_input_writes_nothing(trace, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        run(tmp_path / "none.parquet", "--out", tmp_path / "out")
    write_trace(made([3]), tmp_path / "decode.parquet")
    with pytest.raises(InputError, match="no prefill tokens"):
        run(tmp_path / "decode.parquet", "--out", tmp_path / "out", "--phase", "prefill")
    assert run(trace, "--out", tmp_path / "out", "--phase", "both").exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [([1], 1, 1, 1), ([1, 1], 2, 2, 2), ([9], 1, 4, 2)])
def test_the_smallest_traces_are_drawn_as_far_as_there_is_anything(shape, tmp_path):
    lengths, layers, experts, k = shape
    write_trace(made(lengths, layers=layers, experts=experts, k=k), tmp_path / "t.parquet")
    assert run(tmp_path / "t.parquet", "--out", tmp_path / "out").exit_code == 0
    drawn = {path.stem for path in (tmp_path / "out/figures").iterdir()}
    assert {"lru", "popularity"} <= drawn
    assert "predictions" not in drawn
    assert ("reuse" in drawn) == (max(lengths) > 1)


def found(model="m", *, sch=0.72, lru=((2, 0.5), (5, 0.7)), experts=8, top_k=2, **header) -> Locality:
    """Return results with these numbers, over a small trace."""
    trace = made([6, 6], layers=2, experts=8, phases=[0] * 6 + [1] * 6)
    header = trace.header.model_copy(update={"model": model, "n_experts": experts, "top_k": top_k, **header})
    rows = [Row("sch", sch, 1, m=16, rho=2.0), *(Row("lru_hit_rate", hit, 1, size=n) for n, hit in lru)]
    return Locality(header, "all", select(trace, "all"), decodes=True, rows=tuple(rows))


def test_the_verdict_follows_from_sch_and_lru():
    assert judge(found()).sentence == (
        "m suits expert offloading: with room for twice the experts that a token activates, a cache that "
        "knows the next 16 tokens finds 72.0% (SCH; 70% is good, less than 50% is poor); LRU finds 70% with "
        "room for 5 of 8 experts a layer (62%)."
    )
    judged = [(judge(found(sch=sch)).suits, sch) for sch in (0.7, 0.699, 0.5, 0.499)]
    assert judged == [("well", 0.7), ("partly", 0.699), ("partly", 0.5), ("poorly", 0.499)]
    assert "m suits expert offloading in part: " in judge(found(sch=0.6)).sentence
    assert "m does not suit expert offloading: " in judge(found(sch=0.1)).sentence
    assert "m (synthetic routing) suits" in judge(found(synthetic=True)).sentence


def test_the_verdict_is_open_where_nothing_follows():
    none = judge(found(sch=None, lru=()))
    assert (none.suits, none.experts_per_layer) == ("unknown", None)
    assert none.sentence == (
        "Whether m suits expert offloading is open: no sequence has 16 tokens in a row; LRU does not find "
        "70% in this trace with any cache."
    )
    assert "activates are all 4" in judge(found(experts=4)).sentence


def test_a_model_of_the_paper_stands_beside_its_values():
    here = found("org/Qwen1.5-MoE-A2.7B-Chat", precision="Q4_K_M")
    beside = compare(here)
    assert beside.model == "Qwen1.5-MoE-A2.7B"
    assert [(p.statistic, p.m, p.here, p.published_low, p.published_high) for p in beside.comparisons] == [
        ("srp", 16, None, 0.3071, 0.3071),
        ("sch", 4, None, 0.4067, 0.4147),
        ("sch", 16, 0.72, 0.4579, 0.465),
        ("sch", 64, None, 0.3473, 0.355),
        ("sch", 256, None, 0.2945, 0.3032),
    ]
    reasons = " ".join(beside.reasons)
    for reason in (
        "other text",
        "another release",
        "k is 2 here, 4 there",
        "Q4_K_M",
        "generated",
        "as short as 6",
    ):
        assert reason in reasons
    assert "few windows (2)" in reasons
    assert "not recorded" not in reasons
    report = markdown(here, judge(here), beside)
    assert "| SCH, m = 16, cache 2 x active | 72.00 | 45.79 to 46.50 |" in report
    assert "| SRP, m = 16 |  | 30.71 |" in report
    assert "Why they differ: other text" in report
    assert summary(here, judge(here), beside)["published"]["model"] == "Qwen1.5-MoE-A2.7B"
    assert compare(found("olmoe-mini")) is None
    assert published_rows(None) == []


def test_the_same_recording_has_no_reason_but_the_text():
    trace = made([512] * 30, layers=1, experts=8)
    header = trace.header.model_copy(update={"model": "GRIN-MoE", "precision": "bfloat16"})
    routing = select(trace, "all")
    assert compare(Locality(header, "all", routing, decodes=False, rows=())).reasons == (
        "other text: the paper reads 2,048 inputs of each of its domains",
    )
    routing.experts[3, 0] = -1
    fresh = replace(routing)
    assert compare(Locality(header, "all", fresh, decodes=False, rows=())).reasons[1:] == (
        "1 rows were not recorded",
    )


def test_published_values_are_drawn_from_the_table_alone(tmp_path):
    rows = [*analyse(made([20, 20], experts=8)).rows, *published_rows(compare(found("OLMoE-1B-7B-0125")))]
    (tmp_path / "locality.csv").write_text(to_csv(rows, "all"))
    draw_locality(tmp_path)
    shown = pd.read_csv(tmp_path / "figures/sch.csv")
    assert shown[shown["statistic"] == "sch_published"]["m"].tolist() == [4, 16, 64, 256]


def test_the_published_table_is_whole():
    data = yaml.safe_load(published.FILE.read_text())
    assert len(data["models"]) == 17
    for entry in data["models"]:
        assert {"name", "model", "top_k", "srp", "sch"} == set(entry)
        assert 16 in entry["srp"]
        assert list(entry["sch"]) == [4, 16, 64, 256]
        assert all(0 < low < high < 100 for low, high in entry["sch"].values())
        own = [
            e["name"]
            for e in data["models"]
            for start in e["model"]
            if entry["name"].lower().startswith(start)
        ]
        assert own in ([entry["name"]], [])  # no model is taken for another


def test_numbers_that_cannot_be_given_are_empty_cells():
    assert (ratio(1, 0), mean([None]), mean([None, 1.0, 2.0])) == (None, None, 1.5)
    text = to_csv([Row("sch", None, 0, m=4, rho=1.5, note="why"), Row("reuse", 1 / 3, 7, lag=1)], "decode")
    assert text.splitlines()[1:] == [
        "sch,decode,,,,4,1.5,,,,,0,why",
        "reuse,decode,,1,,,,,0.333333,,,7,",
    ]


def test_missing_rows_are_told():
    here = analyse(made([30, 30], missing=0.1, seed=2))
    missing = summary(here, judge(here), None)["missing_rows"]
    assert missing > 0
    assert f"{missing} rows that were not recorded count nowhere." in markdown(here, judge(here), None)
