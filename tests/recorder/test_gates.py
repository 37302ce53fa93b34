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


class ToyTopKRouter(torch.nn.Linear):
    """A router whose k is 2."""

    def forward(self, hidden: Any) -> Any:
        logits = super().forward(hidden)
        best = torch.softmax(logits, dim=-1).topk(2)
        return logits, best.values, best.indices


def toy(n_experts: list[int], name: str = "layers") -> Any:
    """Return a model of nothing but routers, with so many experts in each."""

    class Toy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            blocks = [torch.nn.ModuleDict({"gate": ToyTopKRouter(4, n)}) for n in n_experts]
            setattr(self, name, torch.nn.ModuleList(blocks) if name == "layers" else blocks[0])

        def forward(self, input_ids: Any, use_cache: bool) -> None:
            for module in self.modules():
                if isinstance(module, ToyTopKRouter):
                    module(torch.randn(input_ids.shape[1], 4))

    return Toy()


def test_layers_of_different_shapes_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"Toy: \(experts, k\) differ between layers: \[\(6, 2\), \(8, 2\)\]"
    ):
        find_gates(toy([8, 6]), [1, 2, 3])


def test_sizes_are_unknown_where_experts_are_elsewhere() -> None:
    gates = find_gates(toy([8, 8]), [1, 2, 3])
    assert (gates.moe_layers, gates.expert_bytes, gates.dense_bytes) == ((0, 1), None, None)


def test_a_router_in_no_layer_is_refused() -> None:
    with pytest.raises(InputError, match="this router is in no numbered layer"):
        find_gates(toy([8], name="block"), [1, 2, 3])
