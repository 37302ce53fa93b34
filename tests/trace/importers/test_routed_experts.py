"""Answers of SGLang and vLLM that carry their routing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from tests.trace.importers.served import refusal, rows_of
from tests.trace.importers.serving_files import bare, whole_npy

N_PROMPT, N_GENERATED = 3, 4
ROWS = N_PROMPT + N_GENERATED - 1
OLMOE = ImportOptions(model="olmoe-1b-7b")  # 16 layers, all MoE
DEEPSEEK = ImportOptions(model="deepseek-v2-lite")  # 27 layers, of which the first is dense


def routing(n_layers: int, k: int, n_experts: int = 64, n_rows: int = ROWS) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.random((n_rows, n_layers, n_experts)).argsort(axis=2)[:, :, :k].astype(np.int32)


def generate(routed: Any, **counts: Any) -> dict[str, Any]:
    """Return an answer of SGLang's own API."""
    counts = {"prompt_tokens": N_PROMPT, "completion_tokens": N_GENERATED} | counts
    return {"text": "x", "meta_info": {"id": "1", **counts, "routed_experts": routed}}


def chat(*routed: Any, **more: Any) -> dict[str, Any]:
    """Return an answer of an OpenAI API."""
    choices = [{"index": n, "message": {}, "routed_experts": one} for n, one in enumerate(routed)]
    usage = {"prompt_tokens": N_PROMPT, "completion_tokens": N_GENERATED * len(routed)}
    return {"id": "chat-1", "choices": choices, "usage": usage, "prompt_routed_experts": None} | more


def answer(folder: Path, content: Any, name: str = "answer.json") -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / name


FULL = routing(16, 8)
ANSWERS: dict[str, Callable[[], Any]] = {
    "sglang": lambda: generate(bare(FULL)),
    "sglang list": lambda: [generate(bare(FULL))],
    "sglang openai": lambda: chat(None) | {"sglext": {"routed_experts": bare(FULL)}},
    "vllm lists": lambda: chat(FULL.tolist()),
    "vllm split": lambda: chat(FULL[N_PROMPT:].tolist(), prompt_routed_experts=FULL[:N_PROMPT].tolist()),
    "vllm npy": lambda: chat(whole_npy(FULL.astype(np.uint8))),
    "vllm fortran": lambda: chat(whole_npy(np.asfortranarray(FULL.astype(">u2")))),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_form_of_an_answer(tmp_path: Path, name: str) -> None:
    trace = import_trace(answer(tmp_path, ANSWERS[name]()), options=OLMOE)
    assert trace.experts.tolist() == FULL.tolist()
    assert trace.position.tolist() == [0, 1, 2, 3, 4, 5]
    assert trace.phase.tolist() == [0, 0, 0, 1, 1, 1]
    assert trace.sequence.tolist() == [0] * ROWS
    header = trace.header
    assert (header.n_layers, header.n_experts, header.top_k) == (16, 64, 8)
    assert header.recorder == ("SGLang" if "sglang" in name else "vLLM") + " routed_experts"
    assert header.phase_source == "recorded"


def test_answers_of_many_requests(tmp_path: Path) -> None:
    """JSON lines, which may be long; a folder; several choices, of which each has its own length."""
    lines = [generate(bare(FULL)), generate(bare(FULL[:4]), completion_tokens=2)]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    trace = import_trace(tmp_path / "all.jsonl", options=OLMOE)
    assert trace.sequence.tolist() == [0] * 6 + [1] * 4
    assert trace.position.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert trace.phase.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1]
    (tmp_path / "all.jsonl").unlink()
    for number, line in enumerate(lines):
        answer(tmp_path, line, f"{number}.json")
    assert import_trace(tmp_path, options=OLMOE).experts.tolist() == trace.experts.tolist()
    choices = answer(tmp_path, chat(FULL.tolist(), FULL[:4].tolist()))
    again = import_trace(choices, options=OLMOE)
    assert (rows_of(again), again.n_tokens) == (rows_of(trace), 10)
    empty = chat([], prompt_routed_experts=FULL[:3].tolist())
    assert import_trace(answer(tmp_path, empty), options=OLMOE).phase.tolist() == [0, 0, 0]


def test_rows_that_begin_late_or_were_cached(tmp_path: Path) -> None:
    trace = import_trace(answer(tmp_path, generate(bare(FULL[2:]))), options=OLMOE)
    assert (trace.position.tolist(), trace.phase.tolist()) == ([2, 3, 4, 5], [0, 1, 1, 1])
    content = chat(FULL[3:].tolist(), prompt_routed_experts=FULL[1:3].tolist())
    assert import_trace(answer(tmp_path, content), options=OLMOE).position.tolist() == [1, 2, 3, 4, 5]
    cached = FULL.copy()
    cached[:2] = -1
    trace = import_trace(answer(tmp_path, chat(cached.tolist())), options=OLMOE)
    assert trace.experts.tolist() == cached.tolist()
    last = np.concatenate([FULL, FULL[:1]])  # a row for the last token, in some versions
    assert import_trace(answer(tmp_path, chat(last.tolist())), options=OLMOE).n_tokens == ROWS + 1


def test_dense_layers_are_left_out(tmp_path: Path) -> None:
    planes = routing(27, 6)
    planes[:, 0] = 0
    for content in (generate(bare(planes)), chat(planes.tolist()), chat(planes[:, 1:].tolist())):
        trace = import_trace(answer(tmp_path, content), options=DEEPSEEK)
        assert trace.experts.tolist() == planes[:, 1:].tolist()
        assert trace.header.moe_layers == tuple(range(1, 27))
        assert trace.header.n_model_layers == 27
    options = ImportOptions(n_experts=64, moe_layers=tuple(range(1, 27)), top_k=6)
    for content in (generate(bare(planes)), chat(planes.tolist())):
        assert (
            import_trace(answer(tmp_path, content), options=options).experts.tolist()
            == planes[:, 1:].tolist()
        )


def test_phases_may_be_unknown(tmp_path: Path) -> None:
    content = chat(FULL.tolist(), usage=None)
    trace = import_trace(
        answer(tmp_path, content), options=ImportOptions(model="olmoe-1b-7b", phase="split:2")
    )
    assert trace.phase.tolist() == [0, 0, 1, 1, 1, 1]


NAMED = ImportOptions(n_experts=64)
ONE = {"prompt_tokens": 1, "completion_tokens": 1}


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (generate(None), OLMOE, "no routed_experts; ask for it: --enable-return-routed-experts"),
        (chat(None), OLMOE, "no routed_experts"),
        ([], OLMOE, "no answers"),
        ([3], OLMOE, "answer 0: no answer of a server"),
        ({"choices": 3}, OLMOE, "no answer of a server"),
        ({"choices": [3]}, OLMOE, "no answer of a server"),
        ({}, OLMOE, "no answer of a server"),
        ("x", OLMOE, "no answer of a server"),
        (generate("%%%"), OLMOE, "routed_experts: "),
        (generate("AAAA"), OLMOE, "routed_experts: "),
        (generate(bare(FULL[:, :, :7])), OLMOE, "cannot reshape"),
        (generate(bare(FULL)), ImportOptions(model="mixtral-8x7b", top_k=3), "8 rows; 6 tokens"),
        (generate(bare(FULL)), NAMED, "--top-k: missing"),
        (
            generate(bare(FULL), completion_tokens=None),
            ImportOptions(n_experts=64, top_k=8),
            "--model: missing",
        ),
        (generate(whole_npy(FULL)[:2000]), OLMOE, "routed_experts: "),
        (generate(whole_npy(np.array([None]))), OLMOE, "routed_experts: "),
        (generate(whole_npy(FULL.astype(np.float32))), OLMOE, "whole numbers [tokens, layers, k]"),
        (generate(whole_npy(FULL[0])), OLMOE, "whole numbers [tokens, layers, k]"),
        (generate({"a": 1}), OLMOE, "routed_experts are object of shape ()"),
        (generate(3), OLMOE, "of shape ()"),
        (chat([[[1, 2], [3]]]), NAMED, "base64, or lists"),
        (chat([[["1"]]]), NAMED, "whole numbers"),
        (chat([[[10**30, 1]]]), NAMED, "object of shape"),
        (chat([[[70_000, 1]]]), NAMED, "-1..32767"),
        (chat([[[64, 1]]], usage=ONE), NAMED, "allowed: 0..63"),
        (chat([[[1, 1]]], usage=ONE), NAMED, "an expert twice"),
        (chat([[[1, 2]]]), ImportOptions(), "--n-experts: missing"),
        (chat([[[1, 2]]]), ImportOptions(n_experts=64, top_k=4), "--top-k: 4; the answers have 2"),
        (chat([[[1, 2]]]), ImportOptions(n_experts=64, moe_layers=(1, 2)), "1 layers"),
        (chat([[[1, 2]]]), ImportOptions(n_experts=64, phase="decode"), "the file has phases"),
        (chat([[[1, 2]]], usage={}), NAMED, "--phase: missing"),
        (chat([[[0, 0], [1, 2]]]), NAMED, "layer 0 of 2 is 0 throughout: a dense layer?; say which"),
        (chat([[[1, 2]]] * 9), NAMED, "9 rows; 6 tokens were routed"),
        (chat([[[1, 2]]], [[[1, 2, 3]]]), NAMED, "layers x k = (1, 3); (1, 2) in all answers"),
        (chat([[[1, 2]]], prompt_routed_experts=[[[1, 2]]] * 4), NAMED, "of 3 prompt tokens"),
        (chat([[[1, 2]]], prompt_routed_experts=[[[1]]] * 3), NAMED, "of 3 prompt tokens"),
        (generate(bare(FULL), prompt_tokens=-1), OLMOE, "prompt_tokens is -1"),
        (generate(bare(FULL), prompt_tokens="3"), OLMOE, "prompt_tokens is '3'"),
        (generate(bare(FULL), prompt_tokens=10**20), OLMOE, "prompt_tokens is 1000"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "x",
)
def test_answers_that_contradict_themselves(
    tmp_path: Path, content: Any, options: ImportOptions, words: str
) -> None:
    assert words in refusal(answer(tmp_path, content), "routed-experts", options)


def test_an_array_larger_than_its_bytes(tmp_path: Path) -> None:
    header = whole_npy(np.zeros((1, 1, 8), np.uint8))
    data = base64.b64decode(header).replace(b"(1, 1, 8)", b"(9**9,1,8)"[:9])
    absurd = base64.b64encode(data.replace(b"'shape': (9**9,1,8", b"'shape': (99999,8")).decode()
    assert "routed_experts: " in refusal(answer(tmp_path, chat(absurd)), "routed-experts", NAMED)


def test_text_that_speaks_of_routed_experts_is_not_recognised(tmp_path: Path) -> None:
    content = {"choices": [{"text": '"routed_experts": [1]'}]}
    assert "no format is recognised" in refusal(answer(tmp_path, content), None)
    assert "no format is recognised" in refusal(answer(tmp_path, {"routed_experts": [1]}), None)
