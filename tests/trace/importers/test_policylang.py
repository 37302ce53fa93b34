"""moe-policylang: what its columns may be."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.errors import InputError
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from tests.trace.examples import one_line


def policylang(folder: Path, **change: object) -> Path:
    columns: dict[str, object] = {
        "prompt_id": pa.array([0, 0], pa.int32()),
        "token_idx": pa.array([0, 1], pa.int32()),
        "layer_idx": pa.array([3, 3], pa.int32()),
        "selected_experts": pa.array([[1, 2], [2, 0]], pa.list_(pa.int32())),
    }
    columns = {name: value for name, value in (columns | change).items() if value is not None}
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return folder / "a.parquet"


def test_policylang_without_scores_and_phases(tmp_path: Path) -> None:
    options = ImportOptions(n_experts=4, phase="split:1", model="m", licence="MIT")
    trace = import_trace(policylang(tmp_path), "moe-policylang", options)
    assert trace.weights is None
    assert trace.phase.tolist() == [0, 1]
    assert (trace.header.model, trace.header.licence) == ("m", "MIT")
    assert trace.header.recorder == "moe-policylang"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt_id": None}, "no column 'prompt_id', or twice"),
        ({"selected_experts": None}, "no column 'selected_experts'"),
        ({"selected_experts": pa.array([[1, 2], [2]])}, "is list<element: int64>"),
        ({"selected_experts": pa.array([[1, 2], [2]], pa.list_(pa.int32()))}, "lists of different lengths"),
        ({"selected_experts": pa.array([[1, 2], None], pa.list_(pa.int32()))}, "1 empty cells"),
        ({"selected_experts": pa.array([[1, 2], [2, None]], pa.list_(pa.int32()))}, "with empty cells"),
        ({"selected_experts": pa.array([[], []], pa.list_(pa.int32()))}, "empty lists in 'selected_experts'"),
        ({"selected_experts": pa.array([[1, 4], [2, 0]], pa.list_(pa.int32()))}, "allowed: 0..3"),
        ({"selected_experts": pa.array([1, 2], pa.int32())}, "column 'selected_experts' is int32"),
        ({"token_idx": pa.array([1, 0], pa.int32())}, "comes after a later token"),
        ({"token_idx": pa.array([1, 1], pa.int32())}, "the same row or slot twice"),
        ({"token_idx": pa.array([1, None], pa.int32())}, "column 'token_idx' has 1 empty cells"),
        ({"token_idx": pa.array([0, -1], pa.int32())}, "position from -1 to 0"),
        ({"token_idx": pa.array([0.0, 1.0])}, "column 'token_idx' is double; int32 or int64"),
        ({"router_scores": pa.array([[1.0], [1.0]], pa.list_(pa.float32()))}, "router_scores have k 1; 2"),
        ({"phase": pa.array(["warm-up", "decode"])}, "unknown phase"),
        ({"token_id": pa.array([1, 1 << 40])}, "'token_id' goes from 1 to"),
    ],
)
def test_policylang_faults(tmp_path: Path, change: dict[str, object], words: str) -> None:
    phase = None if "phase" in change else "decode"
    with pytest.raises(InputError) as caught:
        import_trace(
            policylang(tmp_path, **change), "moe-policylang", ImportOptions(n_experts=4, phase=phase)
        )
    line = one_line(caught.value)
    assert words in line or ("list<element: int64>" in words and "different lengths" in line)


def test_policylang_columns_of_no_rows(tmp_path: Path) -> None:
    empty = {name: pa.array([], pa.int32()) for name in ("prompt_id", "token_idx", "layer_idx")} | {
        "selected_experts": pa.array([], pa.list_(pa.int32()))
    }
    with pytest.raises(InputError, match="no routed tokens"):
        import_trace(policylang(tmp_path, **empty), "moe-policylang", ImportOptions(n_experts=4))
