"""Megatron-core's routing trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from tests.trace.importers.served import refusal
from tests.trace.importers.serving_files import megatron_line


def megatron(folder: Path, text: str, rank: int = 0) -> Path:
    (folder / f"router_trace_rank{rank}.jsonl").write_text(text)
    return folder


A, B, C, D = [[0, 1], [2, 3]], [[4, 5], [1, 0]], [[5, 4]], [[3, 2]]


def test_steps_are_sequences(tmp_path: Path) -> None:
    text = megatron_line(0, 1, A) + megatron_line(0, 2, B) + megatron_line(0, 0, A, block="mtp", mtp_idx=0)
    text += (
        megatron_line(3, 1, C) + megatron_line(3, 2, D) + megatron_line(4, 1, []) + megatron_line(4, 2, [])
    )
    trace = import_trace(megatron(tmp_path, text), options=ImportOptions(n_experts=6))
    assert trace.experts.tolist() == [[A[0], B[0]], [A[1], B[1]], [C[0], D[0]]]
    assert trace.sequence.tolist() == [0, 0, 1]
    assert trace.position.tolist() == [0, 1, 0]
    assert trace.phase.tolist() == [0, 0, 0]
    assert trace.header.moe_layers == (1, 2)
    assert trace.header.phase_source == "teacher-forced, imported as prefill"
    assert "each microbatch is one sequence" in trace.header.notes
    decode = ImportOptions(n_experts=6, phase="decode")
    assert import_trace(tmp_path / "router_trace_rank0.jsonl", options=decode).phase.all()


def test_microbatches_copies_and_a_step_cut_short(tmp_path: Path) -> None:
    """Rank 1 is a tensor-parallel copy, rank 2 has other tokens; a last line may be missing."""
    text = "".join(megatron_line(0, layer, rows) for layer, rows in ((1, A), (2, B), (1, B), (2, A), (1, C)))
    megatron(tmp_path, text)
    megatron(tmp_path, text, rank=1)
    megatron(tmp_path, megatron_line(0, 1, D) + megatron_line(0, 2, C), rank=2)
    trace = import_trace(tmp_path, options=ImportOptions(n_experts=6))
    assert trace.sequence.tolist() == [0, 0, 1, 1, 2, 3]
    assert trace.experts[2:].tolist() == [[B[0], A[0]], [B[1], A[1]], [C[0], [-1, -1]], [D[0], C[0]]]


def test_layers_of_older_versions_are_counted_from_1(tmp_path: Path) -> None:
    lines = [json.loads(megatron_line(0, layer, A)) for layer in (2, 3)]
    text = "".join(json.dumps({k: v for k, v in line.items() if k != "block"}) + "\n" for line in lines)
    trace = import_trace(megatron(tmp_path, text), options=ImportOptions(n_experts=6))
    assert trace.header.moe_layers == (1, 2)


WORDS = "a number up to 2147483647"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "topk []; one in all lines, and at least one line"),
        ("3\n", "line 1: no object"),
        ("{\n", "line 1: not JSON"),
        (megatron_line(0, 1, A)[:60], "line 1: not JSON"),
        (megatron_line(0, 1, A, step="0"), f"line 1: step is '0'; {WORDS}"),
        (megatron_line(0, -1, A), f"layer is -1; {WORDS}"),
        (megatron_line(0, 1, A, num_tokens=None), "num_tokens is None"),
        (megatron_line(0, 1, A, num_tokens=3), "top_indices of shape (2, 2); num_tokens x topk = (3, 2)"),
        (megatron_line(0, 1, A, topk=10**30), "topk is 1000"),
        (megatron_line(0, 1, [], num_tokens=10**9), "num_tokens x topk"),
        (megatron_line(0, 1, A, top_indices=[[1, 2], [3]]), "lists of experts"),
        (megatron_line(0, 1, A, top_indices=[[1, 2], [3, 10**30]]), "experts are object"),
        (megatron_line(0, 1, A, top_indices=[[1, 2], [3, 1.5]]), "experts are float64"),
        (megatron_line(0, 1, A, top_indices=None), "top_indices of shape ()"),
        (megatron_line(0, 1, [[1, 2], [3, 70_000]]), "-1..32767"),
        (megatron_line(0, 1, [[1, 2], [3, 6]]), "allowed: 0..5"),
        (megatron_line(0, 1, [[1, 2], [3, 3]]), "an expert twice"),
        (megatron_line(0, 1, A) + megatron_line(0, 2, C), "line 2: 1 tokens; 2, as the layers before"),
        (megatron_line(0, 1, A) + megatron_line(1, 1, [[1]], topk=1), "topk [1, 2]"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "x",
)
def test_traces_that_contradict_themselves(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(megatron(tmp_path, text), "megatron", ImportOptions(n_experts=6))


def test_what_a_routing_trace_needs(tmp_path: Path) -> None:
    assert "no router_trace_rank*.jsonl" in refusal(tmp_path, "megatron")
    assert "--n-experts: missing" in refusal(megatron(tmp_path, megatron_line(0, 1, A)), None)
    old = json.dumps({k: v for k, v in json.loads(megatron_line(0, 0, A)).items() if k != "block"}) + "\n"
    assert "without 'block', layers are counted from 1" in refusal(megatron(tmp_path, old), None)
    megatron(tmp_path, megatron_line(0, 1, A))
    megatron(tmp_path, megatron_line(0, 2, A), rank=1)
    assert "import each pipeline stage by itself" in refusal(tmp_path, None, ImportOptions(n_experts=6))
