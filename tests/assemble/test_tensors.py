"""The tensors of an expert on their way from a trace or a model into a run, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulator.trace.core import Trace, TraceHeader
from simulator.trace.parquet import write_trace
from tests.command_line import moesim

MACHINE = """\
name: h
title: one lane of 1 byte/ns, and 2 bytes/ns of compute
main: cpu
compute:
  cpu:
    flops: {value: 1000 TFLOP/s, measured: false, source: made up}
    memory_bandwidth: {value: 2 GB/s, measured: false, source: made up}
    compute_efficiency: {value: 1.0, measured: false, source: made up}
    bandwidth_efficiency: {value: 1.0, measured: false, source: made up}
    launch: {value: 0 ns, measured: false, source: made up}
tiers:
  cpu:
    capacity: {value: 1 GB, measured: false, source: made up}
    reserved: {value: 0 B, measured: false, source: made up}
    bandwidth: {value: 46 GB/s, measured: false, source: made up}
  ssd:
    capacity: {value: 1 GB, measured: false, source: made up}
links:
  ssd_to_cpu:
    bandwidth: {value: 1 GB/s, measured: false, source: made up}
    latency: {value: 0 ns, measured: false, source: made up}
    read_align: {value: 500 B, measured: false, source: made up}
    split: false
    host_memory: pinned
    reads_dram: false
"""
EXPERIMENT = """\
name: e
model: trace
hardware: ./h.yaml
trace: ./t.parquet
runtime: {parts: tensors, parts_order: matrix}
memory: {cpu_expert_cache: 1 MB}
"""
WHOLE = 12_000


def play(folder: Path, tensors: tuple[int, ...] | None, *sets: str) -> pd.Series[float]:
    """Play one token that needs both experts of the one layer; return its row of the summary."""
    header = TraceHeader(
        model="m", n_layers=1, n_experts=2, top_k=2, moe_layers=(0,), n_model_layers=1, recorder="me",
        expert_bytes=(WHOLE,), dense_bytes=(2000,), precision="fp16",
        expert_tensor_bytes=tensors and (tensors,),
    )  # fmt: skip
    zeros = np.zeros(1, np.int32)
    trace = Trace(header, zeros, zeros, np.ones(1, np.uint8), np.array([[[0, 1]]], np.int16))
    write_trace(trace, folder / "t.parquet")
    (folder / "h.yaml").write_text(MACHINE)
    (folder / "e.yaml").write_text(EXPERIMENT)
    given = [word for text in sets for word in ("--set", text)]
    moesim(folder, "run", "e.yaml", "-o", "out", *given)
    return pd.read_csv(folder / "out" / "summary.csv").iloc[0]


def test_two_unequal_tensors(tmp_path: Path) -> None:
    """Reads are a block of 500 longer: gate_up lands at 8,500 and 17,000, down at 21,500 and 26,000.

    An expert is computed in 6,000 ns, 4,000 of them gate_up: 8,500 to 12,500 and 17,000 to 21,000; down
    21,500 to 23,500 and 26,000 to 28,000. Before that 1,000 ns are dense.
    """
    row = play(tmp_path, (8000, 4000))
    assert row["bytes_ssd_to_cpu"] == 2 * WHOLE + 4 * 500
    assert row["expert_compute_ms_per_token"] == pytest.approx(0.012)
    assert row["stall_ms_per_token"] == pytest.approx((28_000 - 12_000) / 1e6)
    assert not isinstance(row["warnings"], str)  # none


def test_tensors_that_are_not_told_are_three_equal_ones_and_said(tmp_path: Path) -> None:
    """Reads of 4,500: gate 4,500 and 9,000, up 13,500 and 18,000, down 22,500 and 27,000, then 2,000 ns."""
    row = play(tmp_path, None)
    assert row["bytes_ssd_to_cpu"] == 2 * WHOLE + 6 * 500
    assert row["stall_ms_per_token"] == pytest.approx((29_000 - 12_000) / 1e6)
    assert "does not tell the tensors of an expert: 3 equal ones are assumed" in row["warnings"]


def test_equal_parts_know_no_tensors(tmp_path: Path) -> None:
    told, untold = tmp_path / "told", tmp_path / "untold"
    told.mkdir()
    untold.mkdir()
    one, other = play(told, (8000, 4000), "runtime.parts=3"), play(untold, None, "runtime.parts=3")
    assert one["stall_ms_per_token"] == other["stall_ms_per_token"]
    assert not isinstance(other["warnings"], str)
