"""Sizes of the models agree with their published configurations, parameter counts and recorded traces."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from simulator.data import names
from simulator.errors import InputError
from simulator.model.hf_config import read_hf_config
from simulator.model.load import load_model
from simulator.model.precision import BITS, canonical, tensor_bytes
from simulator.trace.core import TraceHeader
from simulator.trace.sizes import trace_model
from tests.places import SHARED

# Derived from the models' published configurations: model; MB per expert at fp16, Q8_0, Q4, Q3_K, Q2_K;
# MoE layers; experts; GB of all experts at fp16; GB of the experts that a token uses.
TABLE = """
mixtral-8x7b       352.32 187.17  99.09  75.69  57.80 32   256   90.2 22.55
mixtral-8x22b      603.98 320.86 169.87 129.76  99.09 56   448  270.6 67.65
phi-3.5-moe        157.29  83.56  44.24  33.79  25.80 32   512   80.5 10.07
qwen1.5-moe-a2.7b   17.30   9.19   4.87   3.72   2.84 24  1440   24.9  1.66
qwen2-57b-a14b      55.05  29.25  15.48  11.83   9.03 28  1792   98.7 12.33
qwen3-30b-a3b        9.44   5.01   2.65   2.03   1.55 48  6144   58.0  3.62
qwen3-235b-a22b     37.75  20.05  10.62   8.11   6.19 94 12032  454.2 28.39
deepseek-moe-16b    17.30   9.19   4.87   3.72   2.84 27  1728   29.9  2.80
deepseek-v2-lite    17.30   9.19   4.87   3.72   2.84 26  1664   28.8  2.70
deepseek-v3         88.08  46.79  24.77  18.92  14.45 58 14848 1307.8 40.87
olmoe-1b-7b         12.58   6.68   3.54   2.70   2.06 16  1024   12.9  1.61
gpt-oss-20b         49.77  26.44  14.00  10.69   8.16 24   768   38.2  4.78
gpt-oss-120b        49.77  26.44  14.00  10.69   8.16 36  4608  229.3  7.17
glm-4.5-air         34.60  18.38   9.73   7.43   5.68 45  5760  199.3 12.46
kimi-k2             88.08  46.79  24.77  18.92  14.45 60 23040 2029.4 42.28
smallthinker-4b      7.08   3.76   1.99   1.52   1.16 32  1024    7.2  0.91
smallthinker-21b    11.80   6.27   3.32   2.53   1.94 52  3328   39.3  3.68
qwen3.5-35b-a3b      6.29   3.34   1.77   1.35   1.03 40 10240   64.4  2.01
qwen3.6-35b-a3b      6.29   3.34   1.77   1.35   1.03 40 10240   64.4  2.01
qwen3.5-397b-a17b   25.17  13.37   7.08   5.41   4.13 60 30720  773.1 15.10
qwen3.8-flash-next   9.83   5.22   2.76   2.11   1.61 48 24576  241.6  4.72
deepseek-v4-flash   50.33  26.74  14.16  10.81   8.26 43 11008  554.1 12.99
glm-5.2             75.50  40.11  21.23  16.22  12.39 75 19200 1449.6 45.30
glm-4.7-flash       18.87  10.03   5.31   4.06   3.10 46  2944   55.6  3.47
gemma-4-26b-a4b     11.89   6.32   3.35   2.56   1.95 30  3840   45.7  2.85
qwen3-next-80b-a3b        6.29   3.34   1.77   1.35   1.03 48 24576 154.6 3.02
llama-4-scout           251.66 133.69  70.78  54.07  41.29 48   768 193.3 12.08
llama-4-maverick        251.66 133.69  70.78  54.07  41.29 24  3072 773.1 6.04
minimax-m2               28.31  15.04   7.96   6.08   4.64 62 15872 449.4 14.04
minimax-text-01         339.74 180.49  95.55  72.99  55.74 80  2560 869.7 54.36
granite-4.0-h-small      18.87  10.03   5.31   4.06   3.10 40  2880 54.4 7.55
granite-3.1-1b-a400m      3.15   1.67   0.88   0.68   0.52 24   768 2.4 0.60
granite-3.1-3b-a800m      4.72   2.51   1.33   1.01   0.77 32  1280 6.0 1.21
ernie-4.5-21b-a3b        23.59  12.53   6.64   5.07   3.87 27  1728 40.8 3.82
ernie-4.5-300b-a47b     176.16  93.59  49.55  37.85  28.90 51  3264 575.0 71.87
hunyuan-a13b             75.50  40.11  21.23  16.22  12.39 32  2048 154.6 19.33
lfm2-8b-a1b              22.02  11.70   6.19   4.73   3.61 22   704 15.5 1.94
dots.llm1                34.60  18.38   9.73   7.43   5.68 61  7808 270.2 12.66
nemotron-3-nano-30b-a3b  19.96  10.60   5.61   4.29   3.27 23  2944 58.7 2.75
glm-4.5                  47.19  25.07  13.27  10.14   7.74 89 14240 671.9 33.60
glm-4.6                  47.19  25.07  13.27  10.14   7.74 89 14240 671.9 33.60
jamba-1.5-mini          352.32 187.17  99.09  75.69  57.80 16   256 90.2 11.27
dbrx                    396.36 210.57 111.48  85.16  65.03 40   640 253.7 63.42
ling-mini-2.0             6.29   3.34   1.77   1.35   1.03 19  4864 30.6 0.96
ling-flash-2.0           25.17  13.37   7.08   5.41   4.13 31  7936 199.7 6.24
ling-1t                 100.66  53.48  28.31  21.63  16.52 76 19456 1958.5 61.20
qwen3-coder-480b-a35b    94.37  50.14  26.54  20.28  15.48 62  9920 936.2 46.81
moonlight-16b-a3b        17.30   9.19   4.87   3.72   2.84 26  1664 28.8 2.70
deepseek-v2              47.19  25.07  13.27  10.14   7.74 59  9440 445.4 16.70
deepseek-v3.2            88.08  46.79  24.77  18.92  14.45 58 14848 1307.8 40.87
trinity-mini             12.58   6.68   3.54   2.70   2.06 30  3840 48.3 3.02
solar-open-100b          31.46  16.71   8.85   6.76   5.16 48  6144 193.3 12.08
kimi-linear-48b-a3b      14.16   7.52   3.98   3.04   2.32 26  6656 94.2 2.94
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]

PUBLISHED_BILLIONS = {  # model cards and papers
    "mixtral-8x7b": 46.7,
    "mixtral-8x22b": 141,
    "phi-3.5-moe": 41.9,
    "qwen1.5-moe-a2.7b": 14.3,
    "qwen2-57b-a14b": 57.4,
    "qwen3-30b-a3b": 30.5,
    "qwen3-235b-a22b": 235,
    "deepseek-moe-16b": 16.4,
    "deepseek-v2-lite": 15.7,
    "deepseek-v3": 671,
    "olmoe-1b-7b": 6.92,
    "gpt-oss-20b": 20.9,
    "gpt-oss-120b": 116.8,
    "glm-4.5-air": 106,
    "smallthinker-4b": 4,
    "switch-base-128": 7.4,
    "olmoe-mini": 0.0274,
    "qwen3.5-35b-a3b": 35,
    "qwen3.6-35b-a3b": 35,
    "qwen3.5-397b-a17b": 397,
    "qwen3.8-flash-next": 125,
    "deepseek-v4-flash": 284,
    "glm-5.2": 744,
    "glm-4.7-flash": 30,
    "gemma-4-26b-a4b": 25.2,
}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_expert_sizes_agree_with_the_table(row: list[str]) -> None:
    model = load_model(row[0])
    for precision, megabytes in zip(("fp16", "Q8_0", "Q4_K", "Q3_K", "Q2_K"), row[1:6], strict=True):
        if not model.fallbacks(precision):
            assert f"{model.expert_bytes(precision) / 1e6:.2f}" == megabytes
        assert set(model.expert_bytes_by_layer(precision)) == {model.expert_bytes(precision)}
    layers = len(model.moe_layers)
    assert (layers, layers * model.n_experts) == (int(row[6]), int(row[7]))
    assert f"{model.all_expert_bytes('fp16') / 1e9:.1f}" == row[8]
    assert f"{layers * model.top_k * model.expert_bytes('fp16') / 1e9:.2f}" == row[9]


@pytest.mark.parametrize("name", sorted(PUBLISHED_BILLIONS))
def test_total_parameters_agree_with_published_sizes(name: str) -> None:
    assert load_model(name).total_params / 1e9 == pytest.approx(PUBLISHED_BILLIONS[name], rel=0.02)


def test_every_spec_loads_under_its_own_name() -> None:
    wanted = {row[0] for row in ROWS} | {"switch-base-128", "switch-base-8", "switch-base-32", "olmoe-mini"}
    assert set(names("models")) == wanted
    for name in wanted:
        model = load_model(name)
        assert model.name == name
        assert len(model.source) > 10


def test_switch_and_olmoe_mini() -> None:
    switch = load_model("switch-base-128")
    assert switch.moe_layers == (1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23)
    assert switch.expert_params == 4_718_592
    assert switch.expert_bytes() == 18_874_368
    for name, n_experts in (("switch-base-8", 8), ("switch-base-32", 32)):  # the decoders alone
        small = load_model(name)
        assert small.moe_layers == (1, 3, 5, 7, 9, 11)
        assert (small.n_experts, small.expert_bytes()) == (n_experts, switch.expert_bytes())
    mini = load_model("olmoe-mini")
    assert (len(mini.moe_layers), mini.n_experts, mini.top_k) == (16, 64, 8)
    assert mini.expert_bytes() == 3 * 128 * 64 * 2


def test_dense_parts_of_mixtral_by_hand() -> None:
    model = load_model("mixtral-8x7b")
    assert model.attention_params(0) == 4096 * 4096 * 2 + 4096 * 1024 * 2
    assert model.gate_params(31) == 4096 * 8
    assert model.shared_params(0) == model.dense_ffn_params(0) == 0
    assert model.kv_bytes_per_token(0) == 2 * 8 * 128 * 2
    assert model.attention_flops_per_context_token(0) == 2 * 2 * 32 * 128
    assert model.embedding_params == model.lm_head_params == 32000 * 4096
    total = 32 * (model.attention_params(0) + model.gate_params(0)) + 2 * 32000 * 4096
    assert model.non_expert_bytes() == 2 * total
    with pytest.raises(IndexError, match="model layer 32 of 32"):
        model.kv_bytes_per_token(32)


def test_gated_delta_layers_by_hand() -> None:
    """One layer in four: queries and their gate, keys, values, output; three: q, k, v, z, output."""
    model = load_model("qwen3.5-35b-a3b")
    full = 2048 * (2 * 16 * 256) + 2 * 2048 * (2 * 256) + (16 * 256) * 2048
    delta = 2 * 2048 * (16 * 128) + 2 * 2048 * (32 * 128) + (32 * 128) * 2048
    assert 40 * model.attention_params(0) == 10 * full + 30 * delta
    assert model.kv_bytes_per_token(0) == 2 * 2 * 256 * 2 // 4
    assert model.attention_flops_per_context_token(0) == 4 * 16 * 256 // 4


def test_latent_attention_dense_first_and_shared_experts() -> None:
    lite = load_model("deepseek-v2-lite")
    assert lite.moe_layers == tuple(range(1, 27))
    assert lite.kv_bytes_per_token(0) == (512 + 64) * 2
    assert lite.attention_flops_per_context_token(0) == 2 * 16 * (512 + 64) + 2 * 16 * 512
    assert lite.attention_params(0) == 2048 * 16 * 192 + 2048 * 576 + 512 * 16 * 256 + 16 * 128 * 2048
    assert (lite.gate_params(0), lite.shared_params(0)) == (0, 0)
    assert lite.dense_ffn_params(0) == 3 * 2048 * 10944
    assert (lite.dense_ffn_params(1), lite.shared_params(1)) == (0, 3 * 2048 * 2816)
    v3 = load_model("deepseek-v3")
    assert v3.attention_params(0) == 187_105_280  # as DeepSeek's own count, less norms


def test_tied_embeddings_are_stored_once_but_read_as_head() -> None:
    tied = load_model("olmoe-mini")
    untied = tied.model_copy(update={"tied_embeddings": False})
    assert untied.non_expert_params - tied.non_expert_params == tied.lm_head_params == 8192 * 128


def test_routers_before_attention() -> None:
    before = {name for name in names("models") if load_model(name).router == "before_attention"}
    assert before == {"smallthinker-4b", "smallthinker-21b"}


def test_precisions() -> None:
    assert canonical("q4_k") == "Q4_K"
    assert canonical("FP16") == "fp16"
    assert tensor_bytes(3, "int4") == 2  # rounded up
    assert tensor_bytes(256, "Q6_K") == 210  # a super-block of ggml
    assert BITS["Q8_0"] == 34 * 8 / 32
    with pytest.raises(ValueError, match="unknown precision; did you mean 'Q4_K'"):
        load_model("mixtral-8x7b").expert_bytes("Q4_KK")


def trace_header(name: str) -> tuple[list[int], list[int]]:
    path = SHARED / "traces" / "bigmoe" / f"{name}.route.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here: it is not shipped (licence and size)")
    rows = re.findall(r"expert_bytes=(\d+) dense_bytes=(\d+)", path.read_text()[:20_000])
    return [int(row[0]) for row in rows], [int(row[1]) for row in rows]


def test_mixed_precision_gives_the_bytes_that_real_files_have() -> None:
    assert list(load_model("qwen3-30b-a3b").expert_bytes_by_layer("q4_k_m")) == trace_header("qwen")[0]
    assert list(load_model("gpt-oss-120b").expert_bytes_by_layer()) == trace_header("gptoss")[0]


def header(**changes: Any) -> TraceHeader:
    fields: dict[str, Any] = {"model": "m", "n_layers": 2, "n_experts": 4, "top_k": 2, "moe_layers": (1, 2)}
    fields |= {"n_model_layers": 3, "expert_bytes": (10, 12), "dense_bytes": (5, 6), "recorder": "r"}
    return TraceHeader(**(fields | changes))


def test_sizes_from_a_trace() -> None:
    model = trace_model(header())
    assert (model.moe_layers, model.n_experts, model.top_k) == ((1, 2), 4, 2)
    assert (model.all_expert_bytes, model.non_expert_bytes) == (4 * 22, 11)
    with pytest.raises(InputError, match="no dense_bytes in its header; name a model instead"):
        trace_model(header(dense_bytes=None))
    with pytest.raises(InputError, match="no expert_bytes"):
        trace_model(header(expert_bytes=None))


GQA = {"num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936}
DEEPSEEK = {
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "vocab_size": 102400,
    "num_attention_heads": 16,
} | {
    "num_key_value_heads": 16,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "moe_intermediate_size": 1408,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
}
LATENT = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
LARGE = LATENT | {
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "q_lora_rank": 1536,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "mixtral-8x7b": {
        "model_type": "mixtral",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "vocab_size": 32000,
    }
    | {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
    | {"num_local_experts": 8, "num_experts_per_tok": 2},
    "phi-3.5-moe": {
        "model_type": "phimoe",
        "hidden_size": 4096,
        "intermediate_size": 6400,
        "vocab_size": 32064,
    }
    | {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
    | {"num_local_experts": 16, "num_experts_per_tok": 2},
    "qwen2-57b-a14b": {"model_type": "qwen2_moe", "hidden_size": 3584, "intermediate_size": 18944}
    | {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 151936}
    | {"num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 2560, "decoder_sparse_step": 1}
    | {"shared_expert_intermediate_size": 20480, "norm_topk_prob": False},
    "qwen3-30b-a3b": GQA
    | {"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48}
    | {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "norm_topk_prob": True},
    "olmoe-1b-7b": {
        "model_type": "olmoe",
        "hidden_size": 2048,
        "intermediate_size": 1024,
        "vocab_size": 50304,
    }
    | {"num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16}
    | {"num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": False},
    "deepseek-moe-16b": DEEPSEEK | {"model_type": "deepseek", "num_hidden_layers": 28},
    "deepseek-v2-lite": DEEPSEEK
    | LATENT
    | {"model_type": "deepseek_v2", "num_hidden_layers": 27, "q_lora_rank": None},
    "deepseek-v3": LARGE
    | {"model_type": "deepseek_v3", "vocab_size": 129280, "num_attention_heads": 128}
    | {"n_routed_experts": 256, "first_k_dense_replace": 3, "moe_layer_freq": 1, "norm_topk_prob": True},
    "kimi-k2": {
        "model_type": "kimi_k25",
        "text_config": LARGE
        | {"model_type": "kimi_k2", "vocab_size": 163840, "num_attention_heads": 64}
        | {"n_routed_experts": 384, "first_k_dense_replace": 1},
    },
    "gpt-oss-20b": {
        "model_type": "gpt_oss",
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "vocab_size": 201088,
    }
    | {"num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64}
    | {"num_local_experts": 32, "num_experts_per_tok": 4, "quantization_config": {"quant_method": "mxfp4"}},
    "glm-4.5-air": {
        "model_type": "glm4_moe",
        "hidden_size": 4096,
        "intermediate_size": 10944,
        "vocab_size": 151552,
    }
    | {"num_hidden_layers": 46, "num_attention_heads": 96, "num_key_value_heads": 8, "head_dim": 128}
    | {
        "n_routed_experts": 128,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 1408,
    }
    | {"first_k_dense_replace": 1},
    "switch-base-128": {"model_type": "switch_transformers", "d_model": 768, "d_ff": 3072, "d_kv": 64}
    | {"num_heads": 12, "num_layers": 12, "num_decoder_layers": 12, "num_experts": 128, "vocab_size": 32128}
    | {"num_sparse_encoder_layers": 6, "num_sparse_decoder_layers": 6},
}


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_config_json_gives_the_same_sizes_as_the_spec(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIGS[name]))
    read, spec = load_model(str(folder)), load_model(name)
    assert read.name == name
    same = (
        "moe_layers",
        "expert_params",
        "non_expert_params",
        "attention",
        "top_k",
        "gate_weights",
        "tied_embeddings",
    )
    assert [getattr(read, field) for field in same] == [getattr(spec, field) for field in same]
    if name.startswith("gpt"):
        assert read.expert_bytes() == spec.expert_bytes() == 13_219_200


def test_the_bundled_model_s_own_config() -> None:
    path = SHARED / "models" / "olmoe-mini" / "config.json"
    if not path.exists():
        pytest.skip(f"{path} is not here: weights and configuration are not shipped")
    assert read_hf_config(path).total_params == load_model("olmoe-mini").total_params


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '{"model_type": "mixtrall"}',
            "says nothing of experts (mixtrall); a Mixture-of-Experts model is wanted",
        ),
        ('{"model_type": "Qwen3-MoE"}', "model_type: unknown ('Qwen3-MoE'); did you mean 'qwen3_moe'?"),
        ("{}", "says nothing of experts; a Mixture-of-Experts model is wanted"),
        ('{"model_type": "glm_moe_dsa"}', "can be written as YAML (moesim schema model)"),
        (
            '{"model_type": "olmoe", "vocab_size": 1}',
            "num_attention_heads: missing key; olmoe configs have it",
        ),
        ("[1]", "not a JSON object"),
        ("{", "not JSON"),
    ],
)
def test_configs_that_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError) as caught:
        load_model(str(tmp_path / "config.json"))
    assert says in str(caught.value)


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_model(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"top_k": 9}, "top_k 9 is more than n_experts 8"),
        ({"moe_layer_list": [1, 32]}, "one or more of 0 to 31, ascending"),
        ({"dense_first": 1}, "dense_ffn is 0 but some layers are not MoE"),
        ({"unverified": ["atention"]}, "unverified names no field: atention; did you mean 'attention'?"),
        ({"main_precision": "fp17"}, "unknown precision ('fp17'); did you mean 'fp16'?"),
        ({"dense_precision": "Q4_K_M"}, "Q4_K_M is a mix of types by layer"),
        ({"n_experts": 0}, "n_experts: input should be greater than 0 (0)"),
        ({"expert_matrices": 4}, "expert_matrices: not allowed (4); allowed: 2 or 3"),
    ],
)
def test_specs_that_contradict_themselves_are_refused(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    spec = load_model("mixtral-8x7b").model_dump(mode="json") | change
    (tmp_path / "m.yaml").write_text(json.dumps(spec))
    with pytest.raises(InputError) as caught:
        load_model(str(tmp_path / "m.yaml"))
    assert says in str(caught.value)
