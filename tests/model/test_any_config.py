"""Configs of any architecture: counted weights are the published ones, and what is assumed is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import InputError
from simulator.model.hf_config import read_hf_config
from simulator.model.load import load_model
from simulator.model.spec import ModelSpec
from tests.places import SHARED

CONFIGS = Path(__file__).with_name("configs")
# Model; billions of weights; billions that a token uses; what that leaves out: nothing (0), the input
# embedding (1), embedding and head (2). Sources: the models' cards and reports; ? where they give one digit.
PUBLISHED = """
dbrx                     131.6   36.5  0
deepseek-v2              236     21    0
deepseek-v3.2            671     37    0
dots.llm1                142     14    0
ernie-4.5-21b-a3b        21.8    ?     0
ernie-4.5-300b-a47b      300     47    1
glm-4.5                  355     32    2
granite-3.1-1b-a400m     1.33    0.43  0
granite-3.1-3b-a800m     3.3     0.88  0
granite-4.0-h-small      32.2    ?     0
grok-1                   314     ?     0
hunyuan-a13b             80      13    0
internvl3.5-30b-a3b      30.5    3.3   0
jamba-1.5-large          398     94    0
jamba-1.5-mini           51.6    12    0
kimi-linear-48b-a3b      48      ?     0
lfm2-8b-a1b              8.3     ?     0
ling-1t                  1000    50    1
ling-flash-2.0           103     6.1   0
ling-lite                16.8    2.75  0
ling-mini-2.0            16.3    ?     0
llama-4-maverick         400     17    0
llama-4-scout            108     17    0
minimax-m2               229     ?     0
minimax-text-01          456     45.9  2
moonlight-16b-a3b        16      2.9   0
nemotron-3-nano-30b-a3b  31.6    3.6   0
qwen3-coder-480b-a35b    480     35    0
qwen3-next-80b-a3b       80      ?     0
skywork-moe              146     22    1
solar-open-100b          102.6   12    0
trinity-mini             26      ?     0
"""
ROWS = [line.split() for line in PUBLISHED.strip().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_counted_weights_are_the_published_ones(row: list[str]) -> None:
    model = read_hf_config(CONFIGS / f"{row[0]}.json")
    assert model.total_params / 1e9 == pytest.approx(float(row[1]), rel=0.02)
    if row[2] != "?":
        used = model.active_params - int(row[3]) * model.embedding_params
        assert used / 1e9 == pytest.approx(float(row[2]), rel=0.02)


def test_every_config_has_a_row() -> None:
    assert sorted(path.stem for path in CONFIGS.glob("*.json")) == [row[0] for row in ROWS]


KNOWN = ("mixtral-8x7b", "olmoe-1b-7b", "qwen3-30b-a3b", "deepseek-v2-lite", "deepseek-v3", "glm-4.5-air")


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_model_is_read_alike_under_an_unknown_type(tmp_path: Path, name: str) -> None:
    """The general reader and our own files agree, on configs that are written in the commonest words."""
    m = load_model(name)
    config: dict[str, Any] = {
        "model_type": "something_new",
        "hidden_size": m.hidden, "num_hidden_layers": m.n_model_layers, "vocab_size": m.vocab,
        "tie_word_embeddings": m.tied_embeddings, "num_attention_heads": m.attention.heads,
        "n_routed_experts": m.n_experts, "num_experts_per_tok": m.top_k,
        "moe_intermediate_size": m.expert_ffn,
        "shared_expert_intermediate_size": m.shared_ffn, "intermediate_size": m.dense_ffn,
        "first_k_dense_replace": m.moe_layers[0],
        "scoring_func": "sigmoid" if m.gate_weights == "sigmoid" else "softmax",
        "norm_topk_prob": m.gate_weights == "renormalised",
    }  # fmt: skip
    a = m.attention
    if a.kind == "mla":
        config |= {"kv_lora_rank": a.kv_lora, "q_lora_rank": a.q_lora, "qk_rope_head_dim": a.qk_rope,
                   "qk_nope_head_dim": a.qk_nope, "v_head_dim": a.v_head}  # fmt: skip
    else:
        config |= {"num_key_value_heads": a.kv_heads, "head_dim": a.head_dim}
    found = read(tmp_path, config)
    assert (found.total_params, found.moe_layers) == (m.total_params, m.moe_layers)
    assert (found.attention, found.gate_weights, found.assumed) == (m.attention, m.gate_weights, ())


def read(folder: Path, config: dict[str, Any]) -> ModelSpec:
    (folder / "config.json").write_text(json.dumps(config))
    return read_hf_config(folder / "config.json")


LEAST = {"hidden_size": 64, "num_hidden_layers": 4, "vocab_size": 100, "num_attention_heads": 4}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "intermediate_size": 128}
WINDOWS = {"layer_types": ["sliding_attention"] * 3 + ["full_attention"]}


@pytest.mark.parametrize(
    ("said", "layers"),
    [
        ({}, [0, 1, 2, 3]),
        ({"first_k_dense_replace": 1}, [1, 2, 3]),
        ({"num_dense_layers": 2}, [2, 3]),
        ({"interleave_moe_layer_step": 2}, [1, 3]),
        ({"moe_layer_freq": 2}, [0, 2]),
        ({"moe_layer_freq": [0, 1, 1, 1]}, [1, 2, 3]),
        ({"mlp_layer_types": ["dense", "sparse", "sparse", "dense"]}, [1, 2]),
        ({"moe_layers": [1, 3]}, [1, 3]),
        ({"moe_layers_enum": "2,3"}, [2, 3]),
        ({"expert_layer_period": 2, "expert_layer_offset": 1}, [1, 3]),
        ({"moe_layer_start_index": 1, "moe_layer_end_index": 2}, [1, 2]),
        ({"decoder_sparse_step": 1, "mlp_only_layers": [0, 3]}, [1, 2]),
    ],
)
def test_layers_with_experts(tmp_path: Path, said: dict[str, Any], layers: list[int]) -> None:
    assert read(tmp_path, LEAST | EXPERTS | said).moe_layers == tuple(layers)


@pytest.mark.parametrize(
    ("said", "growing"),
    [
        ({}, 4),
        (WINDOWS, 1),
        ({"layer_types": ["linear_attention"] * 2 + ["full_attention"] * 2}, 2),
        ({"sliding_window_pattern": 2, "sliding_window": 512}, 2),
        ({"full_attn_idxs": [3]}, 1),
        ({"attn_layer_period": 4, "attn_layer_offset": 2, "mamba_d_state": 16}, 1),
    ],
)
def test_caches_that_grow(tmp_path: Path, said: dict[str, Any], growing: int) -> None:
    model = read(tmp_path, LEAST | EXPERTS | said)
    whole = 2 * 4 * 16 * 2  # keys and values of four heads of 16, in two bytes
    assert sum(model.kv_bytes_per_token(layer) for layer in range(4)) == growing * whole


def test_what_is_assumed_is_said(tmp_path: Path) -> None:
    untied, gate = "embeddings are not tied", "gate weights are renormalised over the chosen experts"
    assert read(tmp_path, LEAST | EXPERTS).assumed == (untied, gate)
    window = "the KV cache of 3 layers with a window does not grow"
    assert window in read(tmp_path, LEAST | EXPERTS | WINDOWS).assumed


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (LEAST, "says nothing of experts; a Mixture-of-Experts model is wanted"),
        (
            {**LEAST, "num_experts": 8},
            "says nothing of how many experts a token uses; one of num_experts_per_tok",
        ),
        ({**LEAST, **EXPERTS, "hidden_size": None}, "says nothing of its width; one of hidden_size"),
        ({**LEAST, "num_experts": 8, "num_experts_per_tok": 2}, "says nothing of the width of an expert"),
        ({**LEAST, **EXPERTS, "num_experts": "8"}, "num_experts: is '8'; a whole number from 1 to"),
        ({**LEAST, **EXPERTS, "num_experts_per_tok": [2, 4]}, "is [2, 4]; the same in each layer"),
        ({**LEAST, **EXPERTS, "num_experts_per_tok": 9}, "top_k 9 is more than n_experts 8"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, said)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_size_of_the_files_checks_what_is_counted(tmp_path: Path) -> None:
    said = LEAST | EXPERTS | {"tie_word_embeddings": False, "norm_topk_prob": True}
    model = read(tmp_path, said)
    size = 2 * model.total_params
    index = tmp_path / "model.safetensors.index.json"
    for stated, differs in ((size, False), (int(1.04 * size), False), (2 * size, True)):
        index.write_text(json.dumps({"metadata": {"total_size": stated}, "weight_map": {}}))
        assert any("as counted" in line for line in read(tmp_path, said).assumed) == differs
    index.write_text("{")
    assert read(tmp_path, said).assumed == ()


def test_a_wrapped_config_that_failed() -> None:
    path = SHARED / "failing" / "qwen3_5_moe-config.json"
    if not path.exists():
        pytest.skip("needs ../shared/failing")
    assert read_hf_config(path).total_params == load_model("qwen3.5-35b-a3b").total_params
