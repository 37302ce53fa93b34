"""Routing that SGLang's recorder writes; and every example of an engine comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.trace.importers import limits
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from tests.trace.importers import trace_files
from tests.trace.importers.served import NAME, refusal, rows_of, served
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
    record,
    recording,
    serve,
)
from tests.trace.importers.torch_files import Tensor, Writer, save, tensor
from tests.trace.importers.trace_files import TOKENS


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
