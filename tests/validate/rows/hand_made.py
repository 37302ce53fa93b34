"""A machine and a trace so small that a run can be worked out on paper.

One MoE layer of two experts of 1 GB each, one of them for each token, in turn; the GPU holds one of them, and
the link moves 1 GB/s without latency. The GPU reads 10 GB/s. So a decoded token waits 1 s and computes 0.1 s
(and a nanosecond for the one byte that is dense).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simulator.trace.core import DECODE, PREFILL, Trace, TraceHeader
from simulator.trace.parquet import write_trace
from tests.validate.rows.row_files import row, write_rows

HARDWARE = """
name: on-paper
title: A machine on paper
notes: none
main: gpu
compute:
  gpu:
    flops: {value: 1000 TFLOP/s, measured: false, source: made up}
    memory_bandwidth: {value: 10 GB/s, measured: false, source: made up}
    compute_efficiency: {value: 1.0, measured: false, source: made up}
    bandwidth_efficiency: {value: 1.0, measured: false, source: made up}
    launch: {value: 0 ns, measured: false, source: made up}
  cpu:
    flops: {value: 1 TFLOP/s, measured: false, source: made up}
    memory_bandwidth: {value: 100 GB/s, measured: false, source: made up}
    compute_efficiency: {value: 1.0, measured: false, source: made up}
    bandwidth_efficiency: {value: 1.0, measured: false, source: made up}
    launch: {value: 0 ns, measured: false, source: made up}
tiers:
  gpu:
    capacity: {value: 8 GB, measured: false, source: made up}
    reserved: {value: 0 B, measured: false, source: made up}
  cpu:
    capacity: {value: 100 GB, measured: false, source: made up}
    bandwidth: {value: 100 GB/s, measured: false, source: made up}
    reserved: {value: 0 B, measured: false, source: made up}
links:
  cpu_to_gpu:
    bandwidth: {value: 1 GB/s, measured: false, source: made up}
    latency: {value: 0 ns, measured: false, source: made up}
    chunk: {value: 1 GB, measured: false, source: made up}
  gpu_to_cpu:
    bandwidth: {value: 1 GB/s, measured: false, source: made up}
    latency: {value: 0 ns, measured: false, source: made up}
    chunk: {value: 1 GB, measured: false, source: made up}
"""


def hand_made(folder: Path, *rows: dict[str, Any]) -> Path:
    """Write machine, trace and a file of rows; one prompt token and eight decoded ones."""
    (folder / "on-paper.yaml").write_text(HARDWARE)
    n = 9
    header = TraceHeader(
        model="two experts",
        n_layers=1,
        n_experts=2,
        top_k=1,
        moe_layers=(0,),
        n_model_layers=1,
        weights="none",
        precision="fp16",
        expert_bytes=(10**9,),
        dense_bytes=(1,),
        recorder="a pencil",
    )
    trace = Trace(
        header=header,
        sequence=np.zeros(n, np.int32),
        position=np.arange(n, dtype=np.int32),
        phase=np.array([PREFILL] + [DECODE] * (n - 1), np.uint8),
        experts=np.array([i % 2 for i in range(n)], np.int16).reshape(n, 1, 1),
        source="by hand",
    )
    write_trace(trace, folder / "in-turn.parquet")
    common = {
        "model": "trace",
        "hardware": "./on-paper.yaml",
        "trace": "./in-turn.parquet",
        "system": "lru-on-demand",
        "memory.gpu_expert_cache": "1 GB",
    }
    return write_rows(folder / "rows.yaml", *(rows or [row()]), common=common)
