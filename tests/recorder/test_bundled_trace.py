"""The bundled trace is what traces/README.md says it is; the formulas of its statistics are here."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

from simulator.trace.core import DECODE, Trace
from simulator.trace.parquet import read_trace
from tests.places import ROOT

TRACES = ROOT / "traces"


@pytest.fixture(scope="module")
def trace() -> Trace:
    return read_trace(TRACES / "olmoe-mini.parquet")


def one_hot(ids: npt.NDArray[np.int16], n_experts: int) -> npt.NDArray[np.bool_]:
    """Return which experts [T, L, E] rows of ids [T, L, k] name."""
    used: npt.NDArray[np.bool_] = (ids[..., None] == np.arange(n_experts)).any(axis=2)
    return used


def lag1_reuse(trace: Trace, tokens: npt.NDArray[np.bool_]) -> float:
    """Share of a token's experts that the token before it used too, of the same sequence."""
    used = one_hot(trace.experts[tokens], trace.header.n_experts)
    follows = np.diff(trace.sequence[tokens]) == 0
    return float((used[1:] & used[:-1]).sum(axis=-1)[follows].mean() / trace.header.top_k)


def top_share(trace: Trace) -> float:
    """Share of activations that the tenth most used experts of a layer take, mean over layers."""
    counts = one_hot(trace.experts, trace.header.n_experts).sum(axis=0)
    tenth = -(-trace.header.n_experts // 10)
    return float((np.sort(counts, axis=1)[:, -tenth:].sum(axis=1) / counts.sum(axis=1)).mean())


def prediction_accuracy(trace: Trace, distance: int) -> float:
    """Share of the k experts of layer l + distance that layer l's prediction named."""
    said = one_hot(trace.predicted[distance - 1][:, :-distance], trace.header.n_experts)
    used = one_hot(trace.experts[:, distance:], trace.header.n_experts)
    return float((said & used).sum() / used.sum())


def longest_repeat(tokens: npt.NDArray[np.int32], periods: range) -> int:
    """Return the longest run of tokens that equal those one period before, over all periods."""
    longest = 0
    for period in periods:
        run = 0
        for same in tokens[period:] == tokens[:-period]:
            run = run + 1 if same else 0
            longest = max(longest, run)
    return longest


def test_it_has_the_shape_of_olmoe_and_says_that_it_is_small(trace: Trace) -> None:
    header = trace.header
    assert (header.n_layers, header.n_experts, header.top_k, header.weights) == (16, 64, 8, "softmax")
    assert header.model == "olmoe-mini" and "it is not OLMoE-1B-7B" in header.notes
    assert header.licence == "Apache-2.0" and not header.synthetic and header.recorder_version
    assert trace.offers() >= {"gate_weights", "predictions", "gate_top", "token_ids"}
    assert len(trace.predicted) == len(trace.predicted_weights) == 3


def test_sequences_and_tokens(trace: Trace) -> None:
    lines = (TRACES / "olmoe-mini.prompts.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(
        ("definition", "documentation", "prose", "code"), 5
    )
    assert (trace.n_tokens, int((trace.phase == DECODE).sum())) == (4496, 4008)
    assert len(np.unique(trace.sequence)) == len(lines) == 20
    assert np.bincount(trace.sequence).max() <= 300
    assert (TRACES / "olmoe-mini.parquet").stat().st_size < 5e6


def test_statistics_are_those_of_the_readme(trace: Trace) -> None:
    readme = (TRACES / "README.md").read_text()
    decoded = trace.phase == DECODE
    for name, value in {
        "lag-1 reuse, all tokens": lag1_reuse(trace, decoded | True),
        "lag-1 reuse, decoded tokens": lag1_reuse(trace, decoded),
        "top share": top_share(trace),
        "prediction accuracy, 1 layer ahead": prediction_accuracy(trace, 1),
        "prediction accuracy, 2 layers ahead": prediction_accuracy(trace, 2),
        "prediction accuracy, 3 layers ahead": prediction_accuracy(trace, 3),
    }.items():
        assert f"| {name} | {value:.3f} |" in readme


def test_the_text_does_not_loop(trace: Trace) -> None:
    assert trace.token_id is not None
    for sequence in np.unique(trace.sequence):
        tokens = trace.token_id[(trace.sequence == sequence) & (trace.phase == DECODE)]
        assert longest_repeat(tokens, range(1, 65)) <= 10
        grams = {tuple(tokens[i : i + 4]) for i in range(len(tokens) - 3)}
        assert len(grams) >= 0.89 * (len(tokens) - 3)
