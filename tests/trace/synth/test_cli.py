"""``moesim trace synth`` from end to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from simulator.cli import app
from simulator.errors import InputError
from simulator.trace.parquet import read_trace

SMALL = ["--layers", "2", "--experts", "8", "--top-k", "2", "--sequences", "6", "--decode", "120"]


def synth(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["trace", "synth", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_given_parameters(tmp_path: Path) -> None:
    out = tmp_path / "t.parquet"
    shown = synth("-o", str(out), *SMALL, "--predict", "0.9,0.8")
    assert "2x8x2 (synthetic), 1488 tokens" in shown.replace("\n", "")
    trace = read_trace(out)
    assert trace.header.synthetic
    assert len(trace.predicted) == 2
    assert list(tmp_path.iterdir()) == [out]


def test_like_a_trace_writes_table_and_parameters_that_draw_the_same_again(tmp_path: Path) -> None:
    real, out, again = (tmp_path / f"{name}.parquet" for name in ("real", "out", "again"))
    synth("-o", str(real), *SMALL, "--seed", "4", "--stickiness", "2")
    shown = synth("-o", str(out), "--like", str(real))
    assert "worst layer" in shown
    assert "out.fit.csv" in shown.replace("\n", "")
    rows = {
        row["statistic"]: row for row in csv.DictReader((tmp_path / "out.fit.csv").read_text().splitlines())
    }
    assert abs(float(rows["reuse_1"]["difference"])) < 0.02
    assert rows["weight_1"]["worst_layer"] == ""
    trace = read_trace(out)
    assert trace.header.notes.endswith("Fitted to real.parquet (2x8x2 (synthetic))")
    assert trace.n_tokens == read_trace(real).n_tokens
    synth("-o", str(again), "--params", str(tmp_path / "out.params.yaml"))
    assert (read_trace(again).experts == trace.experts).all()


def test_like_a_trace_at_other_lengths(tmp_path: Path) -> None:
    real, out = tmp_path / "real.parquet", tmp_path / "out.parquet"
    synth("-o", str(real), *SMALL)
    lengths = ["--sequences", "2", "--prefill", "1", "--decode", "9", "--predict", "1"]
    facts = json.loads(synth("-o", str(out), "--like", str(real), *lengths, "--json"))
    assert facts["tokens"] == 20
    assert facts["parameters"]["predictions"] == [1.0]
    assert {"statistic", "real", "synthetic", "difference"} < set(facts["fit"][0])


def test_like_published_statistics(tmp_path: Path) -> None:
    source, out = tmp_path / "s.yaml", tmp_path / "out.parquet"
    source.write_text(
        yaml.safe_dump(
            {
                "name": "tiny",
                "statistics": [
                    {"statistic": "reuse_1", "layer": 1, "value": 0.5, "source": "nobody"},
                    {"statistic": "weight_1", "value": 0.7, "source": "nobody"},
                ],
                "assumed": {"layers": 2, "experts": 8, "top_k": 2},
            }
        )
    )
    shown = synth("-o", str(out), "--like-statistics", str(source))
    assert "published" in shown
    assert read_trace(out).header.notes.endswith("published statistics: tiny")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the shape is not clear"),
        (["--layers", "2"], "the shape is not clear"),
        (["--model", "mixtral-8x7b", "--top-k", "2"], "the shape is not clear"),
        (["--model", "mixtrl-8x7b"], "did you mean 'mixtral-8x7b'"),
        ([*SMALL, "--skew", "-1"], "skew: input should be greater"),
        ([*SMALL, "--skew", "nan"], "finite"),
        ([*SMALL, "--predict", "high"], "--predict: 'high'"),
        ([*SMALL, "--prefill", "0", "--decode", "0"], "a sequence without tokens"),
        (["--like", "a.parquet", "--like-statistics", "b"], "several sources"),
        (["--like", "a.parquet", "--coupling", "1"], "--coupling: not with --like"),
        (["--like-statistics", "mixtral-8x7b", "--model", "x"], "--model: not with --like-statistics"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(tmp_path: Path, arguments, complaint) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        synth("-o", str(tmp_path / "t.parquet"), *arguments)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_parameters_of_a_file_are_checked_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("layers: 2\nexperts: 8\ntop_k: 2\nsequences: 3\ndecode: [1, 2]\n")
    with pytest.raises(InputError, match="2 lengths in decode"):
        synth("-o", str(tmp_path / "t.parquet"), "--params", str(path))
    path.write_text("layers: 2\nexperts: 8\ntop_k: 2\nsticky: 3\n")
    with pytest.raises(InputError, match=r"p.yaml:4: sticky: unknown key; did you mean 'stickiness'"):
        synth("-o", str(tmp_path / "t.parquet"), "--params", str(path))
