"""The tensors of an expert, from the bytes that a run read: how many, how large, and when nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.trace.core import TraceHeader
from simulator.trace.importers.expert_tensors import tensor_bytes
from simulator.trace.importers.registry import import_trace
from simulator.trace.parquet import read_trace, write_trace
from tests.trace.examples import one_line

BLOCK = 4096
ROUTE = """# route_trace v1
# model=/x/m-Q4_K_M.gguf arch=x n_layer=2 n_expert=4 n_expert_used=1
# layer=0 expert_bytes=9000 dense_bytes=70
# layer=1 expert_bytes=12000 dense_bytes=71
turn,phase,step,layer,slot,expert,weight,residency,expert_bytes
0,0,0,0,0,1,1,0,9000
0,0,0,1,0,1,1,0,12000
0,1,1,0,0,2,1,0,9000
0,1,1,1,0,1,1,1,0
0,1,2,0,0,3,1,0,9000
0,1,2,1,0,2,1,0,12000
"""
MISSED = (9000, 21000)  # of the two decoded tokens, of one and of two experts


def imported(folder: Path, read: tuple[int, ...] | None, route: str = ROUTE) -> TraceHeader:
    """Import a run whose decoded tokens read so much; return its header."""
    (folder / "r.route.csv").write_text(route)
    if read is not None:
        rows = "".join(f"{step},{n},1.0\n" for step, n in enumerate(read, 1))
        (folder / "r.metrics.csv").write_text(f"step,read_bytes,wall_ms\n{rows}# summary tokens=2\n")
    return import_trace(folder / "r.route.csv", "bigmoe").header


@pytest.mark.parametrize(
    ("each", "tensors"),
    [
        (3 * BLOCK, ((3000, 3000, 3000), (3000, 3000, 6000))),
        (2 * BLOCK, ((6000, 3000), (6000, 6000))),
        (8100, ((6000, 3000), (6000, 6000))),
        (4 * BLOCK, None),
        (2 * BLOCK + BLOCK // 2, None),
        (0, None),
    ],
)
def test_extra_bytes_of_a_miss_tell_how_many_tensors(
    tmp_path: Path, each: int, tensors: tuple[tuple[int, ...], ...] | None
) -> None:
    header = imported(tmp_path, (MISSED[0] + each, MISSED[1] + 2 * each))
    assert header.expert_tensor_bytes == tensors
    if tensors is None:
        assert "not known: the bytes read do not tell how many there are" in header.notes
    else:
        assert f"an expert is {len(tensors[0])} tensors" in header.notes
        assert "their sizes assume" in header.notes


def test_what_cannot_be_known_is_said(tmp_path: Path) -> None:
    header = imported(tmp_path, None)
    assert header.expert_tensor_bytes is None
    assert "not known: no metrics lie beside the trace" in header.notes
    assert imported(tmp_path, (MISSED[0] + 3 * BLOCK,)).expert_tensor_bytes is None  # of another run
    without = ROUTE.replace("# layer=1 expert_bytes=12000 dense_bytes=71\n", "")
    assert "not known: its bytes are not" in imported(tmp_path, MISSED, without).notes


def test_metrics_that_are_none_are_refused(tmp_path: Path) -> None:
    for text in ("step\n1\n", "read_bytes\nx\n", "read_bytes,a\n\n1\n,\n", "read_bytes\n1.5\n"):
        (tmp_path / "r.metrics.csv").write_text(text)
        with pytest.raises(InputError) as caught:
            imported(tmp_path, None)
        assert "does not say what each token read" in one_line(caught.value)


def test_sums_are_exact_whatever_the_bytes() -> None:
    assert tensor_bytes((10, 11), 3) == ((3, 3, 4), (3, 3, 5))
    assert tensor_bytes((10, 11), 2) == ((6, 4), (6, 5))


def test_tensors_go_through_parquet(tmp_path: Path) -> None:
    header = imported(tmp_path, (MISSED[0] + 2 * BLOCK, MISSED[1] + 4 * BLOCK))
    write_trace(import_trace(tmp_path / "r.route.csv", "bigmoe"), tmp_path / "r.parquet")
    assert read_trace(tmp_path / "r.parquet").header == header
