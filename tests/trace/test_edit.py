"""``moesim trace slice|merge|anonymise``: compared with rows that are picked by hand."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from simulator.cli import trace as cli
from simulator.errors import InputError
from simulator.trace import stream
from simulator.trace.core import Trace
from simulator.trace.info import summary
from simulator.trace.parquet import read_trace, write_trace
from simulator.trace.parts import n_bytes
from tests.trace.examples import assert_same, one_line, random_trace

SEEDS = range(8)


def moesim(*arguments: object) -> str:
    """Run ``moesim trace`` and return what it prints."""
    done = CliRunner().invoke(cli.app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*arguments: object, words: str) -> None:
    """Assert that ``moesim trace`` refuses in one line."""
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(cli.app, [str(a) for a in arguments], catch_exceptions=False)
    assert words in one_line(caught.value)


def rows(path: Path) -> list[dict[str, Any]]:
    """Return a file's rows."""
    return pq.read_table(path).to_pylist()


@pytest.fixture(params=SEEDS)
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a trace with every column, read in chunks of a token or two."""
    trace = random_trace(request.param, layers=4, ahead=2, extras=True)
    monkeypatch.setattr(stream, "CHUNK_BYTES", n_bytes(trace) * (1 + request.param % 2) // trace.n_tokens)
    write_trace(trace, tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


@pytest.mark.parametrize(
    ("options", "keeps"),
    [
        (["--sequences", "3:"], lambda row: row["sequence"] >= 3),
        (["--sequences", "0,6:9"], lambda row: row["sequence"] in (0, 6, 7, 8)),
        (["--tokens", ":20"], lambda row: row["position"] < 20),
        (["--tokens", "0:30, 40:"], lambda row: not 30 <= row["position"] < 40),
        (["--phase", "prefill"], lambda row: row["phase"] == 0),
        (["--phase", "decode", "--sequences", "0:4"], lambda row: row["phase"] == 1 and row["sequence"] < 4),
    ],
)
def test_slice_keeps_the_tokens_of_every_condition(source: Path, options: list[str], keeps: Any) -> None:
    out = source.with_name("out")
    wanted = [row for row in rows(source) if keeps(row)]
    if not wanted:
        refused("slice", source, "-o", out, *options, words="no token is in")
        assert not out.exists()
        return
    assert f"{len(wanted) // 4} tokens" in moesim("slice", source, "-o", out, *options)
    assert rows(out) == wanted
    before, after = read_trace(source).header, read_trace(out).header
    assert "cut from t.parquet (sha256 " in after.notes
    assert str(source.parent) not in after.notes
    assert after.model_copy(update={"notes": before.notes}) == before


PARTS = {
    "gate_weights": {"weights", "predicted_weights_1", "predicted_weights_2"},
    "predictions": {"predicted_1", "predicted_2", "predicted_weights_1", "predicted_weights_2"},
    "gate_top": {"gate_top", "gate_top_p"},
    "recorded_residency": {"recorded_resident", "recorded_bytes"},
    "token_ids": {"token_id"},
}


@pytest.mark.parametrize("part", PARTS)
def test_slice_leaves_columns_out(source: Path, part: str) -> None:
    out = source.with_name("out")
    moesim("slice", source, "-o", out, "--without", part)
    gone = PARTS[part]
    assert rows(out) == [{k: v for k, v in row.items() if k not in gone} for row in rows(source)]
    offered = summary(read_trace(source))["offers"]
    assert summary(read_trace(out))["offers"] == [word for word in offered if word != part]


def test_slice_by_layers_changes_the_header_and_cuts_predictions(source: Path) -> None:
    """The model's layers 1-4 are 0-3 here; kept are 2 and 3, so depth 1 of the last and all of depth 2 go."""
    out = source.with_name("out")
    moesim("slice", source, "-o", out, "--layers", "2:4")
    header = read_trace(out).header
    assert (header.n_layers, header.moe_layers, header.expert_bytes) == (2, (2, 3), (1000, 1000))
    assert header.expert_tensor_bytes == ((600, 398, 2), (600, 397, 3))
    assert header.n_model_layers == read_trace(source).header.n_model_layers
    wanted = [row | {"layer": row["layer"] - 1} for row in rows(source) if row["layer"] in (1, 2)]
    for row in wanted:
        row["predicted_2"] = [-1, -1]
        row["predicted_1"] = row["predicted_1"] if row["layer"] == 0 else [-1, -1]
    assert rows(out) == wanted
    moesim("slice", source, "-o", out, "--layers", "2", "--without", "predictions", "--force")
    assert [row["layer"] for row in rows(out)] == [0] * read_trace(source).n_tokens


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "nothing says what to keep"),
        (["--phase", "decod"], "did you mean 'decode'"),
        (["--without", "weights"], "did you mean 'gate_weights'"),
        (["--tokens", "5:5"], "is empty"),
        (["--tokens", "a"], "allowed: numbers and start:end"),
        (["--tokens", ":"], "allowed: numbers and start:end"),
        (["--sequences", "1,"], "allowed: numbers and start:end"),
        (["--layers", "1,3"], "neighbouring MoE layers of 1, 2, 3"),
        (["--layers", "7:"], "neighbouring MoE layers of 1, 2, 3"),
        (["--sequences", "77"], "no token is in sequences 77"),
    ],
)
def test_slices_that_are_refused(tmp_path: Path, options: list[str], words: str) -> None:
    write_trace(random_trace(4), tmp_path / "t")
    refused("slice", tmp_path / "t", "-o", tmp_path / "out", *options, words=words)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t"]


def test_the_parts_of_a_trace_merge_to_the_trace(source: Path) -> None:
    parts = [source.with_name(f"part{n}") for n in range(3)]
    there = sorted({row["sequence"] for row in rows(source)})
    for part, sequence in zip(parts, there, strict=False):
        moesim("slice", source, "-o", part, "--sequences", sequence)
    out = source.with_name("out")
    moesim("merge", *parts[: len(there)], "-o", out)
    whole = rows(source)
    assert rows(out) == [row | {"sequence": there.index(row["sequence"])} for row in whole]
    assert "merged from part0 (sha256 " in read_trace(out).header.notes


def with_header(trace: Trace, **fields: Any) -> Trace:
    """Return a trace with other header fields."""
    return replace(trace, header=trace.header.model_copy(update=fields))


def test_merge_numbers_sequences_and_combines_headers(tmp_path: Path) -> None:
    one = with_header(random_trace(4, extras=True), licence="MIT", notes="n", prompt_source="p")
    two = with_header(random_trace(1, extras=True), licence="Apache-2.0", notes="m", synthetic=True)
    for name, trace in (("a", one), ("b", two)):
        write_trace(trace, tmp_path / name)
    moesim("merge", tmp_path / "a", tmp_path / "b", tmp_path / "a", "-o", tmp_path / "out")
    whole = read_trace(tmp_path / "out")
    counts = [len(set(trace.sequence.tolist())) for trace in (one, two, one)]
    assert sorted(set(whole.sequence.tolist())) == list(range(sum(counts)))
    header = whole.header
    assert (header.licence, header.prompt_source) == ("MIT | Apache-2.0", "p | not stated")
    assert header.notes.startswith("n | m; merged from a (sha256 ")
    assert header.synthetic
    assert header.recorder == "test"
    assert whole.weights is not None
    assert two.weights is not None
    assert one.weights is not None
    assert (whole.weights.dtype, two.weights.dtype) == (np.float32, np.float16)
    np.testing.assert_array_equal(whole.weights, np.concatenate([one.weights, two.weights, one.weights]))
    np.testing.assert_array_equal(whole.position, np.concatenate([one.position, two.position, one.position]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "other"}, "model is other, and tiny in"),
        ({"n_experts": 9}, "n_experts is 9, and 8"),
        ({"moe_layers": (0, 1, 2)}, "moe_layers is (0, 1, 2), and (1, 2, 3)"),
        ({"weights": "softmax"}, "weights is softmax, and sigmoid"),
        ({"precision": "x" * 100}, "precision is xxx"),
    ],
)
def test_merge_refuses_other_models(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    trace = random_trace(4, extras=True)
    write_trace(trace, tmp_path / "a")
    write_trace(with_header(trace, **fields), tmp_path / "b")
    refused("merge", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out", words=words)
    assert not (tmp_path / "out").exists()


def test_merge_of_columns_that_differ(tmp_path: Path) -> None:
    full, bare = random_trace(4, ahead=1, extras=True), random_trace(2)
    sizes = {name: getattr(full.header, name) for name in ("expert_bytes", "expert_tensor_bytes")}
    bare = with_header(bare, **sizes)
    write_trace(full, tmp_path / "a")
    write_trace(bare, tmp_path / "b")
    for order in ("ab", "ba"):
        paths = [tmp_path / name for name in order]
        refused("merge", *paths, "-o", tmp_path / "out", words="leave it out with --common")
        moesim("merge", *paths, "-o", tmp_path / "out", "--common", "--force")
        whole = read_trace(tmp_path / "out")
        assert whole.offers() == {"future"}
        assert whole.header.weights == "none"
        parts = [{"a": full, "b": bare}[name].experts for name in order]
        np.testing.assert_array_equal(whole.experts, np.concatenate(parts))
        (tmp_path / "out").unlink()


def test_anonymise_leaves_out_what_was_said(source: Path) -> None:
    secret = with_header(read_trace(source), prompt_source="secret", notes="secret")
    write_trace(secret, source)
    out = source.with_name("out")
    moesim("anonymise", source, "-o", out)
    assert b"secret" not in out.read_bytes()
    there = sorted(set(secret.sequence.tolist()))
    numbers = np.array([there.index(n) for n in secret.sequence], np.int32)
    bare = read_trace(out)
    assert bare.header.notes == "anonymised: no token ids, prompts or notes, sequences renumbered"
    assert_same(bare, replace(secret, header=bare.header, sequence=numbers, token_id=None))


def test_permuted_experts_are_the_same_ones_by_other_numbers(source: Path) -> None:
    """Whichever column names it, an expert of a layer has one new number, and missing stays missing."""
    out, again = source.with_name("out"), source.with_name("again")
    moesim("anonymise", source, "-o", out, "--permute-experts", 5)
    moesim("anonymise", source, "-o", again, "--permute-experts", 5)
    assert out.read_bytes() == again.read_bytes()
    assert read_trace(out).header.notes.endswith("experts of each layer permuted")
    names: dict[tuple[int, int], set[int]] = {}
    ahead = {"experts": 0, "gate_top": 0, "predicted_1": 1, "predicted_2": 2}
    for before, after in zip(rows(source), rows(out), strict=True):
        assert {k: v for k, v in before.items() if k not in (*ahead, "sequence", "token_id")} == {
            k: v for k, v in after.items() if k not in (*ahead, "sequence")
        }
        for name, depth in ahead.items():
            for old, new in zip(before[name], after[name], strict=True):
                assert (old == -1) == (new == -1)
                if old != -1:
                    names.setdefault((before["layer"] + depth, old), set()).add(new)
    assert all(len(numbers) == 1 for numbers in names.values())
    assert max(Counter((layer, *new) for (layer, _), new in names.items()).values()) == 1
    assert any(old != new for (_, old), (new,) in names.items())
    one, other = summary(read_trace(source)), summary(read_trace(out))
    for statistic in ("lag1_reuse", "top_share", "missing_rows", "sequences"):
        assert one[statistic] == other[statistic]


@pytest.mark.parametrize("command", [["slice", "--tokens", "0:"], ["merge"], ["anonymise"]])
def test_sources_and_other_files_are_safe(tmp_path: Path, command: list[str]) -> None:
    source, other, link = tmp_path / "t", tmp_path / "other", tmp_path / "link"
    write_trace(random_trace(4), source)
    before = source.read_bytes()
    other.write_text("mine")
    link.hardlink_to(source)
    for target in (source, link):
        refused(*command, source, "-o", target, "--force", words="is what is read")
    refused(*command, source, "-o", other, words="replace it with --force")
    assert (source.read_bytes(), other.read_text()) == (before, "mine")
    moesim(*command, source, "-o", other, "--force")
    assert read_trace(other).n_tokens == read_trace(source).n_tokens


def test_a_fault_found_midway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = tmp_path / "t", tmp_path / "out"
    write_trace(random_trace(4), path)
    table = pq.read_table(path)
    position = np.array(table["position"]).copy()
    position[-3:] = 0
    table = table.set_column(1, "position", [position])
    pq.write_table(table, path)
    monkeypatch.setattr(stream, "CHUNK_BYTES", 1)
    for command in (["slice", "--tokens", "0:"], ["merge"], ["anonymise"]):
        refused(*command, path, "-o", out, words="does not follow the last chunk")
        assert [entry.name for entry in tmp_path.iterdir()] == ["t"]


def test_progress_is_shown_on_a_terminal_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trace(random_trace(4), tmp_path / "t.parquet")
    cli.validate(tmp_path / "t.parquet")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    cli.validate(tmp_path / "t.parquet")
    assert "t.parquet 13 tokens" in capsys.readouterr().err
