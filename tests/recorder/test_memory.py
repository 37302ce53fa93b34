"""Memory does not grow with the length of a recording."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the recorder needs torch: pip install 'moesim[record]'")
pytest.importorskip("transformers", reason="the recorder needs transformers: pip install 'moesim[record]'")

from simulator.trace.parquet import read_trace
from simulator.trace.recorders import resume
from simulator.trace.recorders.gates import find_gates
from simulator.trace.recorders.huggingface import LoadedModel, make_header
from simulator.trace.recorders.record import Settings, record
from simulator.trace.recorders.resume import Parts
from tests.recorder.models import build

LONG = [(7 * token) % 96 for token in range(120)]


def peak(model: Any, output: Path, n_prompts: int) -> int:
    """Return the most bytes that Python and numpy held at once while ``n_prompts`` were recorded."""
    gates, prompts = find_gates(model, LONG), [LONG] * n_prompts
    header = make_header(LoadedModel("tiny", model, None, 5, 128, frozenset()), gates, dtype="float32")
    tracemalloc.start()
    with Parts(output, resume=False) as parts:
        parts.start({})
        for number, chunk in enumerate(record(model, gates, header, prompts, Settings(1, batch=4))):
            parts.write(number, chunk)
        parts.join(n_prompts // 4)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held


def test_twenty_times_the_prompts_in_the_same_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "GROUP_BYTES", 2**18)  # a batch, for the output of a tiny model
    model = build("olmoe")
    peak(model, tmp_path / "warm.parquet", 4)
    few, many = (peak(model, tmp_path / f"{n}.parquet", n) for n in (12, 240))
    trace = read_trace(tmp_path / "240.parquet")
    assert trace.weights is not None and trace.gate_top is not None and trace.gate_top_p is not None
    arrays = (trace.experts, trace.weights, trace.gate_top, trace.gate_top_p)
    rows = sum(array.nbytes for array in (*arrays, *trace.predicted, *trace.predicted_weights))
    assert few < rows / 10, "more than a few batches were held"
    assert many - few < rows / 25, (
        "what is held grows with the prompts"
    )  # caches of the libraries do, a little
