"""Routing that engines record: SGLang's recorder, answers of SGLang and vLLM, Megatron-core's trace."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.importers import limits
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from tests.trace.examples import one_line
from tests.trace.importers import trace_files
from tests.trace.importers.serving_files import (
    DECODE,
    EXTEND,
    FILES,
    LAYERS,
    MIXED,
    N_EXPERTS,
    PHYSICAL,
    K,
    Request,
    Row,
    bare,
    megatron_line,
    record,
    recording,
    serve,
    whole_npy,
)
from tests.trace.importers.torch_files import Tensor, Writer, save, tensor
from tests.trace.importers.trace_files import TOKENS

NAME = "expert_distribution_recorder_1.5_0.pt"


def refusal(path: Path, name: str | None, options: ImportOptions | None = None) -> str:
    with pytest.raises(InputError) as caught:
        import_trace(path, name, options)
    line = one_line(caught.value)
    assert len(line) < 600
    return line


def rows_of(trace: Trace) -> list[Row]:
    """Return the trace as the scheduler writes its rows."""
    ids = [0] * trace.n_tokens if trace.token_id is None else trace.token_id.tolist()
    columns = trace.sequence.tolist(), trace.position.tolist(), trace.phase.tolist(), ids
    experts = [tuple(tuple(row) for row in token) for token in trace.experts.tolist()]
    return list(zip(*columns, experts, strict=True))


def served(requests: list[Request]) -> list[Row]:
    """Return what a trace of these requests should hold."""
    return sorted(row for request in requests for row in request.rows)


@pytest.mark.parametrize("name", FILES)
def test_an_example_comes_back_exactly(tmp_path: Path, name: str) -> None:
    path, options = FILES[name](tmp_path)
    trace = import_trace(path, options=options)
    header = trace.header
    assert (header.moe_layers, header.n_model_layers) == (trace_files.LAYERS, trace_files.N_MODEL_LAYERS)
    assert (header.n_experts, header.top_k) == (trace_files.N_EXPERTS, trace_files.K)
    assert trace.experts.tolist() == trace_files.experts_of(TOKENS)
    assert trace.sequence.tolist() == [token.sequence for token in TOKENS]
    assert trace.position.tolist() == [token.position for token in TOKENS]
    assert trace.phase.tolist() == [0 if name == "megatron" else token.phase for token in TOKENS]
    ids = None if trace.token_id is None else trace.token_id.tolist()
    assert ids == ([token.token_id for token in TOKENS] if name == "sglang" else None)
    assert import_trace(path, name.partition(":")[0], options).header == header


# SGLang's recorder.


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 30), st.integers(0, 12)), min_size=1, max_size=8),
    st.integers(1, 16),
    st.booleans(),
    st.integers(0, 99),
)
def test_the_recorder_s_sequences_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[tuple[bool, int, int]],
    chunk: int,
    mixed: bool,
    seed: int,
) -> None:
    """Prompts in chunks of two tokens or more, beginnings in the prefix cache, requests that finish."""
    requests = [
        Request(cached * 1000 * n, cached * 1000 * n + prompt + 1, generate)
        for n, (cached, prompt, generate) in enumerate(asked, start=1)
    ]
    records = serve(requests, chunk + 1, seed, mixed=mixed)
    path = recording(tmp_path_factory.mktemp("sglang") / NAME, records)
    trace = import_trace(path)
    assert rows_of(trace) == served(requests)
    header = trace.header
    assert (header.n_experts, header.top_k, header.moe_layers) == (N_EXPERTS, K, LAYERS)
    assert header.n_model_layers == 3
    assert (header.weights, header.phase_source) == ("none", "recorded")


def test_mixed_passes(tmp_path: Path) -> None:
    """Worked by hand: a prompt in two chunks while another request decodes; prompts come first."""
    first, second = Request(0, 3, 9), Request(0, 5, 9)
    requests, rng = [first, second], Random(0)
    first.number, second.number = 0, 1
    records = [
        record([(first, 3)], 1, EXTEND, rng),
        record([(second, 4), (first, 1)], 1, MIXED, rng),
        record([(second, 1), (first, 1)], 1, MIXED, rng),
        record([(second, 1), (first, 1)], 0, DECODE, rng),
    ]
    trace = import_trace(recording(tmp_path / NAME, records), options=ImportOptions(model="m", licence="l"))
    assert rows_of(trace) == served(requests)
    assert trace.position.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]
    assert trace.phase.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1]
    assert (trace.header.model, trace.header.licence) == ("m", "l")


def test_a_recording_that_begins_late_and_a_batch_in_another_order(tmp_path: Path) -> None:
    """Decoded tokens without a beginning are sequences; a retracted request may change the batch's order."""
    requests = [Request(p, p, 9, number, p) for number, p in enumerate((7, 3, 5))]
    rng = Random(0)
    a, b, c = requests
    passes = [[a, b, c], [c, a, b], [a, b]]
    records = [record([(one, 1) for one in batch], 0, DECODE, rng) for batch in passes]
    assert rows_of(import_trace(recording(tmp_path / NAME, records))) == served(requests)


def test_a_chunk_that_was_decoded_does_not_go_on_as_a_prompt(tmp_path: Path) -> None:
    one, other, rng = Request(0, 3, 9, 0), Request(4, 6, 9, 1, 4), Random(0)
    records = [record([(one, 3)], 1, EXTEND, rng), record([(one, 1)], 0, DECODE, rng)]
    records += [record([(other, 2)], 1, EXTEND, rng)]
    assert rows_of(import_trace(recording(tmp_path / NAME, records))) == served([one, other])


def test_ranks(tmp_path: Path) -> None:
    """Two data-parallel ranks, each with a tensor-parallel copy; passes without tokens are left out."""
    asked = [[(4, 3), (6, 2)], [(5, 2)]]
    groups: list[list[Request]] = [[], []]
    for rank in range(4):
        requests = [Request(0, prompt, generate) for prompt, generate in asked[rank // 2]]
        records = serve(requests, 8, rank // 2)
        idle = {"topk_ids_of_layer": np.zeros((3, 0, 8), np.int32), "forward_mode": 4}
        recording(tmp_path / f"expert_distribution_recorder_1.5_{rank}.pt", [*records, records[0] | idle])
        groups[rank // 2] = requests
    for one in groups[1]:
        one.rows = [(row[0] + 2, *row[1:]) for row in one.rows]
    assert rows_of(import_trace(tmp_path)) == served([one for group in groups for one in group])


def test_ranks_of_several_models(tmp_path: Path) -> None:
    serving = serve([Request(0, 4, 3)], 8, 0)
    recording(tmp_path / NAME, serving)
    other = [one | {"topk_ids_of_layer": one["topk_ids_of_layer"][1:]} for one in serving]
    recording(tmp_path / "expert_distribution_recorder_1.5_1.pt", other, PHYSICAL[1:])
    assert "passes of layers x slots [(2, 8), (3, 8)]" in refusal(tmp_path, None)


def one_pass() -> dict[str, Any]:
    """Return a prompt of three tokens."""
    return serve([Request(0, 3, 0)], 8, 0)[0]


def changed(**values: Any) -> dict[str, Any]:
    return {"records": [one_pass() | values], "last_physical_to_logical_map": np.array(PHYSICAL)}


ONE = one_pass()
TOPK = ONE["topk_ids_of_layer"]
HOW = "record with --expert-distribution-recorder-mode per_token"
DEEP = b")" + b"\x85" * 100_000
HUGE = Tensor(np.zeros(0, np.int32), (3, 10**9, 0), (0, 0, 1))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"rank": 0, "logical_count": TOPK, "average_utilization_rate_over_window": None}, HOW),
        ([1], HOW),
        ({"records": 3}, HOW),
        ({"records": [3]}, HOW),
        (changed(topk_ids_of_layer=None), HOW),
        (changed(topk_ids_of_layer=TOPK.astype(np.float32)), HOW),
        (changed(topk_ids_of_layer=TOPK[0]), HOW),
        (changed(topk_ids_of_layer=TOPK[:, :, :0]), HOW),
        (changed(topk_ids_of_layer=HUGE), HOW),
        ({"records": [], "last_physical_to_logical_map": np.array(PHYSICAL)}, "at least one pass"),
        ({"records": [ONE]}, "no last_physical_to_logical_map"),
        ({"records": [ONE], "last_physical_to_logical_map": np.array(PHYSICAL[0])}, "no last_physical"),
        ({"records": [ONE], "last_physical_to_logical_map": -np.array(PHYSICAL)}, "no last_physical"),
        ({"records": [ONE], "last_physical_to_logical_map": 9999 * np.array(PHYSICAL)}, "-1..32767"),
        ({"records": [ONE], "last_physical_to_logical_map": np.array(PHYSICAL[1:])}, "3 layers, experts -1"),
        (changed(topk_ids_of_layer=TOPK + 7), "--disable-shared-experts-fusion"),
        (changed(topk_ids_of_layer=TOPK - 1), "experts -2 to"),
        (changed(topk_ids_of_layer=TOPK.clip(max=-1)), "no routed tokens"),
        (changed(topk_ids_of_layer=np.where(np.arange(8) == 1, TOPK[:, :, :1], TOPK)), "an expert twice"),
        (changed(topk_ids_of_layer=np.where(np.arange(3)[:, None, None] == 1, -1, TOPK)), "no error"),
        (changed(topk_ids_of_layer=np.where(np.eye(3, 8) == 1, -1, TOPK)), "partly missing"),
        (changed(forward_mode=5), "record 0: forward_mode 5; 1 EXTEND, 2 DECODE, 3 MIXED: record without"),
        (changed(forward_mode=True), "forward_mode bool"),
        (changed(forward_mode=[2]), "forward_mode list"),
        (changed(input_ids=[1, 2]), "a number for each of 3 tokens"),
        (changed(input_ids=None), "a number for each of 3 tokens"),
        (changed(positions=(0, 1, 2)), "a number for each of 3 tokens"),
        (changed(input_ids=[1, 2, 2**40]), "whole numbers of 32 bits"),
        (changed(positions=[0, 1, "2"]), "a number for each of 3 tokens"),
        (changed(positions=[0, 1, DEEP]), "a number for each of 3 tokens"),
        (changed(forward_mode=DEEP), "forward_mode tuple"),
        (changed(positions=[0, 1, 1]), "position 1 after 1; a prompt's positions follow each other"),
        (changed(positions=[2, 1, 0]), "position 1 after 2"),
        (changed(positions=[-3, -2, -1]), "negative position"),
        (changed(extend_seq_lens=None), "numbers from 1, 3 together"),
        (changed(extend_seq_lens=[2]), "numbers from 1, 3 together"),
        (changed(extend_seq_lens=[3, 0]), "numbers from 1, 3 together"),
        (changed(extend_seq_lens=["3"]), "numbers from 1, 3 together"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "content",
)
def test_recordings_that_contradict_themselves(tmp_path: Path, content: Any, words: str) -> None:
    path = save(tmp_path / NAME, content)
    if words == "no error":  # a layer that was not recorded at all looks dense
        assert import_trace(path, "sglang").header.moe_layers == (2,)
    else:
        assert words in refusal(path, "sglang")


def test_records_that_are_one_record_many_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle of a few bytes can name one record a million times."""
    path = recording(tmp_path / NAME, [ONE] * 3)
    monkeypatch.setattr(limits, "MOST_BYTES", 1_000_000)
    import_trace(path)
    one = {name: value for name, value in ONE.items() if name != "global_physical_count"}
    one["topk_ids_of_layer"] = replace(tensor(TOPK), key="topk")
    content = {
        "first": Writer().opcodes(one) + b"q\x07",
        "records": b"](" + b"h\x07" * 1000 + b"e",
        "last_physical_to_logical_map": np.array(PHYSICAL),
    }
    save(path, content, extra={"data/topk": TOPK.tobytes()})
    assert "bytes when decoded" in refusal(path, "sglang")


def test_a_folder_without_recordings_and_counts_are_told(tmp_path: Path) -> None:
    assert HOW in refusal(tmp_path, "sglang")
    content = {"rank": 0, "logical_count": TOPK, "average_utilization_rate_over_window": None}
    assert HOW in refusal(save(tmp_path / "stat.pt", content), None)


# Answers with routed_experts.

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
        (chat([[[64, 1]]]), NAMED, "allowed: 0..63"),
        (chat([[[1, 1]]]), NAMED, "an expert twice"),
        (chat([[[1, 2]]]), ImportOptions(), "--n-experts: missing"),
        (chat([[[1, 2]]]), ImportOptions(n_experts=64, top_k=4), "--top-k: 4; the answers have 2"),
        (chat([[[1, 2]]]), ImportOptions(n_experts=64, moe_layers=(1, 2)), "1 layers"),
        (chat([[[1, 2]]]), ImportOptions(n_experts=64, phase="decode"), "the file has phases"),
        (chat([[[1, 2]]], usage={}), NAMED, "--phase: missing"),
        (chat([[[0, 0], [1, 2]]]), NAMED, "plane 0 of 2 is 0 throughout: a dense layer; say which"),
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


# Megatron-core.


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
