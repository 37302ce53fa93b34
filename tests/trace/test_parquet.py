"""Parquet traces: exact round trips, same bytes, nothing half-written, foreign files refused."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.parquet import TraceWriter, read_trace, write_trace
from tests.trace.examples import assert_same, one_line, random_trace

KEY = b"moesim.header"


def part(trace: Trace, start: int, stop: int) -> Trace:
    """Return some tokens of a trace."""
    arrays = ("sequence", "position", "phase", "experts", "weights", "gate_top", "gate_top_p", "token_id")
    arrays += ("recorded_resident", "recorded_bytes")
    cut: dict[str, Any] = {name: getattr(trace, name) for name in arrays}
    cut = {name: None if array is None else array[start:stop] for name, array in cut.items()}
    for name in ("predicted", "predicted_weights"):
        cut[name] = tuple(array[start:stop] for array in getattr(trace, name))
    return replace(trace, **cut)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    layers=st.integers(1, 5),
    sizes=st.sampled_from([(4, 1), (8, 4), (128, 3), (129, 2), (300, 8)]),
    ahead=st.integers(0, 3),
    extras=st.booleans(),
)
def test_round_trip_is_exact(
    seed: int, layers: int, sizes: tuple[int, int], ahead: int, extras: bool
) -> None:
    trace = random_trace(seed, layers=layers, experts=sizes[0], k=sizes[1], ahead=ahead, extras=extras)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        write_trace(trace, path)
        assert_same(trace, read_trace(path))
        middle = trace.n_tokens // 2
        if middle:
            with TraceWriter(path) as writer:
                writer.append(part(trace, 0, middle))
                writer.append(part(trace, middle, trace.n_tokens))
            assert pq.ParquetFile(path).num_row_groups == 2
            assert_same(trace, read_trace(path))


def test_a_row_for_each_token_and_layer_with_readable_columns(tmp_path: Path) -> None:
    trace = random_trace(3, ahead=1, extras=True)
    write_trace(trace, tmp_path / "t.parquet")
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert len(rows) == trace.n_tokens * trace.header.n_layers
    row = rows[trace.header.n_layers + 2]
    assert (row["sequence"], row["position"], row["layer"]) == (trace.sequence[1], trace.position[1], 2)
    assert row["experts"] == trace.experts[1, 2].tolist()
    assert row["predicted_1"] == trace.predicted[0][1, 2].tolist()
    assert list(row)[:5] == ["sequence", "position", "layer", "phase", "token_id"]


def test_same_trace_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_trace(random_trace(5, ahead=2, extras=True), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_failure_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_trace(random_trace(1), path)
    before = path.read_bytes()

    def interrupted() -> None:
        with TraceWriter(path) as writer:
            writer.append(random_trace(2))
            assert path.read_bytes() == before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    broken = random_trace(1)
    broken.experts[0, 0] = 99
    for action in (
        lambda: write_trace(broken, path),
        lambda: TraceWriter(path).__enter__().__exit__(None, None, None),
    ):
        with pytest.raises(InputError) as caught:
            action()
        one_line(caught.value)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


def test_chunks_must_continue_each_other(tmp_path: Path) -> None:
    trace = random_trace(0, extras=True)
    other = replace(trace, header=trace.header.model_copy(update={"model": "other"}))
    later = replace(trace, sequence=trace.sequence + 100)
    fewer = replace(later, token_id=None)

    def write(*chunks: Trace) -> None:
        with TraceWriter(tmp_path / "t") as writer:
            for chunk in chunks:
                writer.append(chunk)

    for chunk, words in ((trace, "does not follow"), (other, "another header"), (fewer, "other columns")):
        with pytest.raises(InputError, match=words):
            write(trace, chunk)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["absent/t.parquet", "."])
def test_targets_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        write_trace(random_trace(), tmp_path / name)
    one_line(caught.value)


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), flip=st.booleans())
def test_truncated_or_damaged_files_are_refused_or_harmless(share: float, flip: bool) -> None:
    trace = random_trace(7, ahead=1, extras=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        write_trace(trace, path)
        content = bytearray(path.read_bytes())
        place = int(share * len(content))
        if flip:
            content[place] ^= 0x55
        path.write_bytes(content if flip else content[:place])
        try:
            read = read_trace(path)
        except InputError as error:
            one_line(error)
        else:
            assert flip, "a truncated file was read"
            np.testing.assert_array_equal(read.experts, trace.experts)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table], **header: Any) -> None:
    """Write the file again with other columns or header fields."""
    table = pq.read_table(path)
    fields = json.loads(table.schema.metadata[KEY]) | header
    pq.write_table(change(table).replace_schema_metadata({KEY: json.dumps(fields)}), path)


def column(name: str, values: list[Any], kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """Return a change that replaces a column."""
    return lambda table: table.set_column(
        table.schema.get_field_index(name), name, pa.array((values * table.num_rows)[: table.num_rows], kind)
    )


def same(table: pa.Table) -> pa.Table:
    """Change nothing."""
    return table


@pytest.mark.parametrize(
    ("change", "header", "words"),
    [
        (same, {"schema_version": 2}, "schema version 2"),
        (same, {"top_k": 3}, "fixed-size lists of 3"),
        (same, {"n_layers": 2, "moe_layers": [1, 2]}, "rows"),
        (same, {"moe_layers": [1, 2]}, "moe_layers has 2 entries"),
        (same, {"n_experts": 2}, "allowed: 0..1"),
        (same, {"weights": "softmax"}, "there are none"),
        (same, {"surprise": 1}, "surprise"),
        (same, {"expert_bytes": [1, 2, 0]}, "expert_bytes"),
        (lambda t: t.drop_columns(["phase"]), {}, "no column 'phase'"),
        (lambda t: t.append_column("expertz", t.column("experts")), {}, "did you mean 'experts'"),
        (lambda t: t.append_column("predicted_2", t.column("experts")), {}, "unknown or repeated column"),
        (lambda t: t.slice(1), {}, "whole number of tokens"),
        (lambda t: t.take(list(range(t.num_rows))[::-1]), {}, "not in order"),
        (column("position", [1, 2, 3], pa.int32()), {}, "differs between the layers"),
        (column("layer", ["0"], pa.string()), {}, "column 'layer' is string"),
        (column("experts", [[1, 2]], pa.list_(pa.int16())), {}, "fixed-size lists"),
        (column("experts", [None, [1, 2]], pa.list_(pa.int16(), 2)), {}, "empty cells"),
        (column("experts", [[None, 2]], pa.list_(pa.int16(), 2)), {}, "empty cells"),
        (column("experts", [[0.5, 2]], pa.list_(pa.float64(), 2)), {}, "int8 or int16"),
    ],
)
def test_contradictory_files_are_refused_in_one_line(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], header: dict[str, Any], words: str
) -> None:
    path = tmp_path / "t.parquet"
    write_trace(random_trace(11), path)
    rewrite(path, change, **header)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    assert words in one_line(caught.value)
    assert str(path) in one_line(caught.value)


def test_foreign_files_are_refused_in_one_line(tmp_path: Path) -> None:
    foreign, text, no_json = tmp_path / "foreign", tmp_path / "text", tmp_path / "no_json"
    pq.write_table(pa.table({"a": [1]}), foreign)
    text.write_text("turn,phase\n0,1\n")
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({KEY: b"[1]"}), no_json)
    for path in (foreign, text, no_json, tmp_path / "absent", tmp_path):
        with pytest.raises(InputError) as caught:
            read_trace(path)
        assert str(path) in one_line(caught.value)
