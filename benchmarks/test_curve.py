"""A curve of LRU at 32 sizes, beside libCacheSim's LRU in C once for each size.

Run with ``make bench``. Both count the same lookups; the ratio of the times travels between machines.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.curve.curve import Asked, curve
from simulator.curve.events import events_of
from simulator.trace.core import Trace, TraceHeader

libcachesim = pytest.importorskip("libcachesim")
N_LAYERS, N_EXPERTS, K, TOKENS = 32, 8, 2, 8000
SIZES = [8 * n for n in range(1, 33)]


def made() -> Trace:
    """Return Mixtral-like routing with a popularity by Zipf's law, seeded."""
    rng = np.random.default_rng(0)
    popularity = -0.8 * np.log(np.arange(1, N_EXPERTS + 1))
    logits = popularity + rng.gumbel(size=(TOKENS, N_LAYERS, N_EXPERTS))
    experts = np.argsort(-logits, axis=2)[:, :, :K].astype(np.int16)
    header = TraceHeader(
        model="made",
        n_layers=N_LAYERS,
        n_experts=N_EXPERTS,
        top_k=K,
        moe_layers=tuple(range(N_LAYERS)),
        n_model_layers=N_LAYERS,
        recorder="benchmark",
    )
    order = np.arange(TOKENS, dtype=np.int32)
    return Trace(header, np.zeros(TOKENS, np.int32), order, np.ones(TOKENS, np.uint8), experts)


def test_lru_at_32_sizes(benchmark: Any, tmp_path: Path) -> None:
    """One pass for all sizes, beside a pass for each."""
    trace = made()
    asked = Asked(trace, [1] * N_LAYERS)
    points = benchmark.pedantic(curve, (asked, ["lru"], SIZES), rounds=5, warmup_rounds=1)
    keys = events_of(trace).keys
    kind = np.dtype([("time", "<u4"), ("key", "<u8"), ("size", "<u4"), ("next", "<i8")])  # oracleGeneral
    table = np.zeros(len(keys), dtype=kind)
    table["time"], table["key"], table["size"], table["next"] = np.arange(len(keys)), keys, 1, -1
    table.tofile(tmp_path / "keys.bin")
    reader = libcachesim.TraceReader(str(tmp_path / "keys.bin"), libcachesim.TraceType.ORACLE_GENERAL_TRACE)
    start = time.perf_counter()
    misses = [libcachesim.LRU(cache_size=size).process_trace(reader)[0] for size in SIZES]
    theirs = time.perf_counter() - start
    ours = benchmark.stats["min"]
    ratio = f"{ours:.3f} s, libCacheSim {theirs:.2f} s: {theirs / ours:.1f} times"
    print(f"\n{len(keys):,} lookups, {len(SIZES)} sizes: {ratio}")
    # Theirs looks up one key at a time, ours a layer step: the hits are near, not equal.
    for point, miss in zip(points, misses, strict=True):
        assert point.hit_rate == pytest.approx(1 - miss, abs=0.1)
