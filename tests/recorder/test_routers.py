"""Routers of either version of transformers are read alike; what cannot be read is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the recorder needs torch: pip install 'moesim[record]'")
pytest.importorskip("transformers", reason="the recorder needs transformers: pip install 'moesim[record]'")

from simulator.errors import InputError
from simulator.trace.recorders.gates import find_gates
from simulator.trace.recorders.routers import find_routers, read_gate, read_router
from tests.recorder.models import FAMILIES, build, gate_inputs
from tests.recorder.tools import PROMPTS, record_all

HIDDEN = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
WEIGHT = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
BIAS = torch.randn(6, generator=torch.Generator().manual_seed(3))


def test_transformers_5_says_all() -> None:
    said = (HIDDEN @ WEIGHT.T, torch.rand(9, 2), torch.randint(6, (9, 2)))
    assert read_router(SimpleNamespace(), HIDDEN, said) == said


def test_deepseek_of_4_57_says_ids_and_weights() -> None:
    ids, weights = torch.randint(6, (9, 2)), torch.rand(9, 2)
    logits, got_weights, got_ids = read_router(SimpleNamespace(weight=WEIGHT), HIDDEN, (ids, weights))
    torch.testing.assert_close(logits, HIDDEN @ WEIGHT.T)
    assert got_weights is weights and got_ids is ids


@pytest.mark.parametrize("k", [2, 6])
def test_gpt_oss_of_4_57_says_scores_of_all_experts(k: int) -> None:
    ids = torch.stack([torch.randperm(6)[:k] for _ in range(9)])
    weights = torch.rand(9, k)
    scores = torch.zeros(9, 6).scatter_(1, ids, weights)
    router = SimpleNamespace(weight=WEIGHT, bias=BIAS)
    logits, got_weights, got_ids = read_router(router, HIDDEN, (scores, ids))
    torch.testing.assert_close(logits, HIDDEN @ WEIGHT.T + BIAS)
    assert torch.equal(got_weights, weights) and got_ids is ids


@pytest.mark.parametrize("renormalise", [True, False, None])
def test_blocks_of_4_57_take_the_best_of_the_softmax(renormalise: bool | None) -> None:
    block: Any = SimpleNamespace(top_k=2)
    if renormalise is not None:
        block.norm_topk_prob = renormalise
    logits = (HIDDEN @ WEIGHT.T).to(torch.bfloat16)
    _, weights, ids = read_gate(block, HIDDEN, logits)
    assert weights.dtype == torch.bfloat16
    for row, chosen, shares in zip(
        logits.double().numpy(), ids.numpy(), weights.float().numpy(), strict=True
    ):
        exact = np.exp(row) / np.exp(row).sum()
        np.testing.assert_allclose(np.sort(exact[chosen]), np.sort(exact)[-2:])
        whole = exact[chosen].sum() if renormalise is not False else 1.0
        np.testing.assert_allclose(shares, exact[chosen] / whole, rtol=0.01)


@pytest.mark.parametrize(
    "output",
    [
        torch.rand(9, 6),
        (torch.rand(9, 6), torch.rand(9, 2)),
        (torch.rand(9, 6), torch.rand(9, 2), torch.rand(9, 2)),
        (torch.rand(9, 6), torch.rand(9, 6), torch.randint(6, (9, 2))),
        (torch.randint(6, (9, 2)), torch.rand(9, 2), 0.1, None),
    ],
)
def test_an_unknown_output_is_refused(output: Any) -> None:
    with pytest.raises(InputError, match="this router does not return logits, weights and ids"):
        read_router(torch.nn.Linear(4, 6), HIDDEN, output)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_each_family_has_its_routers(family: str) -> None:
    model = build(family)
    assert len(find_routers(model)) == len(FAMILIES[family].moe_layers)
    assert find_gates(model, PROMPTS[0]).moe_layers == FAMILIES[family].moe_layers


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_batch_records_what_its_sequences_record_alone(family: str) -> None:
    """In float32, padded on the left: same tokens, same experts, weights to a unit of float16."""
    model = build(family)
    alone, together = record_all(model, decode=9), record_all(model, decode=9, batch=3)
    np.testing.assert_array_equal(alone.token_id, together.token_id)
    np.testing.assert_array_equal(np.sort(alone.experts), np.sort(together.experts))
    assert alone.weights is not None and together.weights is not None
    assert alone.gate_top_p is not None and together.gate_top_p is not None
    for one, other in ((alone.weights, together.weights), (alone.gate_top_p, together.gate_top_p)):
        np.testing.assert_allclose(
            np.sort(one).astype(float), np.sort(other).astype(float), rtol=2e-3, atol=1e-6
        )


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_chooses_as_the_formula_does_but_for_ties(family: str, dtype: Any) -> None:
    model = build(family).to(dtype)
    trace = record_all(model, decode=0, predict=0)
    assert trace.weights is not None
    agree = []
    for sequence, prompt in enumerate(PROMPTS):
        at = trace.sequence == sequence
        routers, inputs = gate_inputs(model, prompt)
        for layer, hidden in enumerate(inputs):
            _, ids, weights = FAMILIES[family].route(model.config, routers[layer], hidden)
            same = (np.sort(ids) == np.sort(trace.experts[at, layer])).all(axis=-1)
            agree.extend(same)
            np.testing.assert_allclose(
                np.sort(trace.weights[at, layer].astype(float))[same], np.sort(weights)[same], rtol=0.05
            )
    assert np.mean(agree) > 0.9
