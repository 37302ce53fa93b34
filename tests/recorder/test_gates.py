"""How a router scores is read from its outputs; models without routers are refused."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the recorder needs torch: pip install 'moesim[record]'")
transformers = pytest.importorskip(
    "transformers", reason="the recorder needs transformers: pip install 'moesim[record]'"
)

from simulator.errors import InputError
from simulator.trace.recorders.gates import classify, find_gates
from tests.recorder.models import COMMON


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [1, 3])
def test_scoring_and_weights_are_told_apart(dtype: Any, k: int) -> None:
    logits = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    soft, sigmoid = torch.softmax(logits.float(), dim=-1), logits.float().sigmoid()
    indices = soft.topk(k).indices
    chosen, gates = soft.gather(-1, indices), sigmoid.gather(-1, indices)
    assert classify(logits, chosen.to(dtype), indices) == ("softmax", "softmax")
    assert classify(logits, gates.to(dtype), indices) == ("sigmoid", "sigmoid")
    assert classify(logits, torch.softmax(chosen.log(), -1).to(dtype), indices) == ("softmax", "renormalised")
    if k > 1:
        shares = gates / gates.sum(dim=-1, keepdim=True)
        assert classify(logits, shares.to(dtype), indices) == ("sigmoid", "renormalised")
        assert classify(logits, (2.5 * shares).to(dtype), indices) == ("sigmoid", "sigmoid")
        assert classify(logits, (16 * chosen).to(dtype), indices) == ("softmax", "sigmoid")


def test_a_dense_model_is_refused() -> None:
    dense = transformers.AutoModelForCausalLM.from_config(
        transformers.LlamaConfig(**COMMON, intermediate_size=48, num_hidden_layers=2)
    )
    with pytest.raises(InputError, match="LlamaForCausalLM: no routers found"):
        find_gates(dense, [1, 2, 3])
