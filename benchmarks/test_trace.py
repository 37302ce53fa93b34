"""Reading and checking a recorded trace: gpt-oss-20b, 32,836 tokens; beside Parquet alone.

Run with ``make bench``. A ratio to plain ``pyarrow`` in the same run travels between machines.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from simulator.trace.edit import write_chunks
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from simulator.trace.info import summarise
from simulator.trace.parquet import read_trace, write_trace
from simulator.trace.slice_ import Cut, cut
from simulator.trace.stream import read_chunks

SOURCE = Path(__file__).resolve().parents[2] / "shared" / "traces" / "gpt-oss-20b" / "decode-80seq.npz"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the imported trace."""
    if not SOURCE.exists():
        pytest.skip("recorded traces of others are not shipped: no ../shared/traces")
    path = tmp_path_factory.mktemp("trace") / "gpt-oss-20b.parquet"
    write_trace(import_trace(SOURCE, None, ImportOptions()), path)
    return path


def plain_s(path: Path) -> float:
    """Return how long ``pyarrow`` needs for the file, the best of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        pq.read_table(path)
        times.append(time.perf_counter() - start)
    return min(times)


def test_read_and_validate(path: Path, benchmark: Any) -> None:
    """All of it in memory, as a simulation reads it."""
    trace = benchmark.pedantic(read_trace, (path,), rounds=5, warmup_rounds=1)
    _say(f"{trace.n_tokens:,} tokens read and validated", benchmark.stats["min"], path)
    assert trace.n_tokens == 32_836


def test_describe_in_chunks(path: Path, benchmark: Any) -> None:
    """Read, validated and counted in the memory of a chunk."""
    facts = benchmark.pedantic(lambda: summarise(read_chunks(path)), rounds=5, warmup_rounds=1)
    _say(f"{facts['tokens']:,} tokens described in chunks", benchmark.stats["min"], path)
    assert facts["lag1_reuse"]["all"] == pytest.approx(0.434, abs=0.002)


def test_size(path: Path, tmp_path: Path) -> None:
    """On disk, with gate weights and without."""
    bare = tmp_path / "bare.parquet"
    write_chunks(cut(read_chunks(path), Cut(drop=("gate_weights",)), "benchmark"), bare)
    sizes = path.stat().st_size, bare.stat().st_size
    print(f"\ngpt-oss-20b: {sizes[0] / 1e6:.2f} MB with weights, {sizes[1] / 1e6:.2f} MB without")
    assert sizes[0] < 6_000_000
    assert sizes[1] < 2_200_000


def _say(what: str, seconds: float, path: Path) -> None:
    plain = plain_s(path)
    print(f"\ngpt-oss-20b: {what} in {seconds:.3f} s = {seconds / plain:.1f} of pyarrow's {plain:.3f} s")
