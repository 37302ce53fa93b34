"""Bytes of experts by hand: blocks and scales of each format, rows that do not fit, what a config says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.model.load import load_model
from simulator.model.precision import BLOCK, FALLBACK, matrix_bytes, stored
from simulator.model.spec import ModelSpec
from tests.command_line import moesim
from tests.failing import copied
from tests.model.test_specs import CONFIGS

QWEN: dict[str, Any] = {
    "model_type": "qwen3_moe", "num_hidden_layers": 1, "hidden_size": 256, "vocab_size": 256,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "num_experts": 2,
    "num_experts_per_tok": 1, "moe_intermediate_size": 256, "intermediate_size": 512, "norm_topk_prob": True,
    "tie_word_embeddings": False,
}  # fmt: skip
WEIGHTS = 3 * 256 * 256
INT4 = {"num_bits": 4, "type": "int", "group_size": 32}


def read(folder: Path, config: object) -> ModelSpec:
    path = folder / "m.json"
    path.write_text(json.dumps(config))
    model = load_model(str(path))
    assert isinstance(model, ModelSpec)
    return model


def compressed(weights: dict[str, Any], **more: Any) -> dict[str, Any]:
    groups = {"group_0": {"weights": weights, "targets": ["Linear"]}}
    return {"quant_method": "compressed-tensors", "config_groups": groups} | more


@pytest.mark.parametrize(
    ("rows", "columns", "precision", "n_bytes"),
    [
        (64, 256, "Q4_K", 64 * 144),  # super-blocks of 144 bytes
        (256, 64, "Q4_K", 256 * 2 * 22),  # Q5_0: blocks of 32 are 2 + 4 + 16 bytes
        (256, 64, "Q6_K", 256 * 2 * 34),  # Q8_0: 2 + 32
        (256, 64, "Q5_K", 256 * 2 * 24),  # Q5_1: 4 + 4 + 16
        (256, 64, "Q2_K", 256 * 2 * 18),  # Q4_0: 2 + 16
        (256, 64, "IQ2_XS", 256 * 2 * 18),  # IQ4_NL: 2 + 16
        (256, 72, "Q4_K", 256 * 72 * 2),  # no multiple of 32 either: fp16
        (256, 64, "Q8_0", 256 * 2 * 34),
        (256, 256, "fp8", 256 * 256 + 4 * 4),  # four blocks of 128 x 128, an fp32 each
        (130, 129, "fp8", 130 * 129 + 4 * 4),  # blocks at the edge are blocks too
        (256, 256, "int4-g128", 256 * (128 + 2 * 2)),  # two groups a row, 2 bytes each
        (256, 256, "int4-g128-zp", 256 * (128 + 2 * 2 + 1)),  # two zero points of 4 bits
        (256, 256, "int4-g32", 256 * (128 + 8 * 2)),
        (2, 33, "int4-g32", -(-2 * (4 * 33 + 16 * 2) // 8)),  # the last group of a row is not full
        (256, 256, "NVFP4", 256 * (128 + 16)),  # 16 weights share a byte
    ],
)
def test_a_matrix_by_hand(rows: int, columns: int, precision: str, n_bytes: int) -> None:
    assert matrix_bytes(rows, columns, precision) == n_bytes


def test_what_falls_back_and_what_is_refused() -> None:
    assert all(name in FALLBACK for name, block in BLOCK.items() if block == 256)
    assert all(BLOCK[kind] == 32 for kind in FALLBACK.values())
    assert stored("Q4_K", 512) == "Q4_K"
    with pytest.raises(ValueError, match="MXFP4 needs rows of a multiple of 32 weights; they have 40"):
        stored("MXFP4", 40)


def test_the_tensors_of_an_expert(tmp_path: Path) -> None:
    """Gate and up have 64 rows of 256 weights, down 256 of 64, which fall back to Q5_0."""
    model = read(tmp_path, QWEN | {"moe_intermediate_size": 64})
    assert model.expert_tensor_bytes("Q4_K") == ((64 * 144, 64 * 144, 256 * 2 * 22),)
    fused = model.model_copy(update={"fused_gate_up": True})
    assert fused.expert_tensor_bytes("Q4_K") == ((128 * 144, 256 * 2 * 22),)
    assert fused.expert_bytes_by_layer("Q4_K") == (29_696,)
    fields = model.model_dump() | {"expert_matrices": 2}
    assert len(ModelSpec(**fields).expert_tensor_bytes()[0]) == 2
    with pytest.raises(ValueError, match="there is no gate to fuse"):
        ModelSpec(**fields | {"fused_gate_up": True})


def test_a_mix_gives_more_bits_to_down(tmp_path: Path) -> None:
    """Q4_K_M of 16 layers: down is Q6_K (210 bytes of 256 weights) in the first 2, and Q4_K in the third."""
    model = read(tmp_path, QWEN | {"num_hidden_layers": 16})
    small, large = 256 * 144, 256 * 210
    tensors = model.expert_tensor_bytes("Q4_K_M")
    assert tensors[:3] == ((small, small, large), (small, small, large), (small, small, small))
    assert tuple(map(sum, tensors)) == model.expert_bytes_by_layer("Q4_K_M")


def test_an_expert_is_the_sum_of_its_matrices(tmp_path: Path) -> None:
    model = read(tmp_path, QWEN | {"moe_intermediate_size": 64})
    assert model.expert_bytes("Q4_K") == 2 * 64 * 144 + 256 * 2 * 22 == 29_696
    assert model.fallbacks("Q4_K") == (("Q4_K", "Q5_0", 64),)
    with pytest.raises(InputError, match="model m: MXFP4 needs rows of a multiple of 32"):
        read(tmp_path, QWEN | {"moe_intermediate_size": 40}).expert_bytes("MXFP4")


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("qwen1.5-moe-a2.7b", 8.30),
        ("deepseek-moe-16b", 9.93),
        ("deepseek-v2-lite", 9.53),
        ("glm-4.5-air", 66.02),
    ],
)
def test_models_with_rows_of_1408_are_a_tenth_larger_in_q4_k_m(name: str, gigabytes: float) -> None:
    assert load_model(name).all_expert_bytes("Q4_K_M") / 1e9 == pytest.approx(gigabytes, abs=0.01)


@pytest.mark.parametrize(
    ("more", "main", "dense", "n_bytes"),
    [
        ({}, "fp16", "fp16", WEIGHTS * 2),
        ({"torch_dtype": "bfloat16"}, "bf16", "bf16", WEIGHTS * 2),
        ({"torch_dtype": "float32"}, "fp32", "fp32", WEIGHTS * 4),
        ({"dtype": "torch.float32", "torch_dtype": "float16"}, "fp32", "fp32", WEIGHTS * 4),
        (
            {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
            "fp8", "fp8", WEIGHTS + 3 * 4 * 4,
        ),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8-plain", "fp8-plain", WEIGHTS),
        (
            {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}},
            "int4-g128-zp", "int4-g128-zp", 3 * 256 * 133,
        ),
        ({"quantization_config": compressed(INT4)}, "int4-g32", "int4-g32", 3 * 256 * 144),
        (
            {"dtype": "bfloat16", "quantization_config": compressed(INT4, ignore=["re:.*self_attn.*"])},
            "int4-g32", "bf16", 3 * 256 * 144,
        ),
        (
            {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}},
            "NVFP4", "NVFP4", 3 * 256 * 144,
        ),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "MXFP4", "fp16", WEIGHTS * 17 // 32),
    ],
)  # fmt: skip
def test_a_config_says_its_precisions(
    tmp_path: Path, more: dict[str, Any], main: str, dense: str, n_bytes: int
) -> None:
    for config in (QWEN | more, {"model_type": "some_vl", **more, "text_config": QWEN}):
        model = read(tmp_path, config)
        assert (model.main_precision, model.dense_precision) == (main, dense)
        assert model.expert_bytes() == n_bytes


def test_the_text_model_s_own_word_counts_before_its_wrapper_s(tmp_path: Path) -> None:
    config = {"tie_word_embeddings": True, "torch_dtype": "float32", "text_config": QWEN}
    model = read(tmp_path, config)
    assert (model.tied_embeddings, model.main_precision) == (False, "fp32")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"quantization_config": {"quant_method": "hqq"}}, "config: quant_method: 'hqq' is not read"),
        ({"quantization_config": {}}, "quant_method: '' is not read"),
        ({"quantization_config": 4}, "quantization_config: is 4; a mapping"),
        ({"quantization_config": {"quant_method": "awq"}}, "bits: missing key"),
        ({"quantization_config": {"quant_method": "awq", "bits": 5}}, "asks for int5, which is not known"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [1, 64]}}, "is [1, 64]"),
        ({"quantization_config": compressed(INT4) | {"config_groups": {}}}, "not one group of tensors"),
        ({"torch_dtype": "float64"}, "torch_dtype: is 'float64'; allowed: float32"),
        ({"kv_lora_rank": 512}, "says latent attention, but qwen3_moe is read as plain attention"),
        ({"layer_types": ["linear_attention"]}, "layer_types: linear_attention layers are not read"),
        ({"num_experts": [8, 8]}, "num_experts: is [8, 8]; a whole number from 1 to"),
        ({"num_attention_heads": None}, "num_attention_heads: is null; a whole number"),
        ({"num_attention_heads": 0}, "num_attention_heads: is 0; a whole number"),
        ({"num_hidden_layers": 1.0}, "num_hidden_layers: is 1.0; a whole number"),
        ({"num_hidden_layers": 10**9}, "a whole number from 1 to 10000"),
        ({"norm_topk_prob": "yes"}, "norm_topk_prob: is 'yes'; true or false"),
        ({"mlp_only_layers": 3}, "mlp_only_layers: is 3; a list of whole numbers"),
        ({"decoder_sparse_step": 0}, "decoder_sparse_step: is 0"),
        ({"text_config": []}, "text_config: is []; a mapping"),
        ({"model_type": ["qwen3_moe"]}, "model_type: is ['qwen3_moe']; a text"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_in_a_line(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, QWEN | more)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=5) | st.just(10**30),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_a_config_holds_it_is_a_model_or_a_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    config = dict(CONFIGS[data.draw(st.sampled_from(sorted(CONFIGS)))])
    more = (
        "quantization_config",
        "torch_dtype",
        "layer_types",
        "text_config",
        "kv_lora_rank",
        "mlp_only_layers",
    )
    for key in data.draw(st.lists(st.sampled_from(sorted({*config, *more})), min_size=1, max_size=3)):
        config[key] = data.draw(anything)
    try:
        model = read(tmp_path_factory.mktemp("m"), config)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - refused or read, both are asserted
    else:
        assert model.expert_params > 0


# -- the small inputs that failed -------------------------------------------------------------------


def moved(folder: Path, *sets: str) -> int:
    """Run, and return the bytes that went to the GPU."""
    words = [word for one in sets for word in ("--set", one)]
    done = moesim(folder, "run", "e.yaml", *words, "--out", "out", "--force")
    assert done.returncode == 0, done.stderr
    return int(pd.read_csv(folder / "out" / "summary.csv").bytes_cpu_to_gpu[0])


def test_f01_quantisation_counts(tmp_path: Path) -> None:
    folder = copied("f01", tmp_path)
    assert moved(folder) == 393_216
    assert moved(folder, "model=fp8.json") == 196_608 + 3 * 4 * 4
    assert moved(folder, "model=awq4.json") == 98_304 + 3 * 256 * 5
    assert moved(folder, "model=ct4.json") == 98_304 + 3 * 256 * 16


def test_f02_the_dtype_counts(tmp_path: Path) -> None:
    folder = copied("f02", tmp_path)
    assert moved(folder) == 786_432
    more = ("trace=switch.parquet", "hardware=rtx4090-pcie4", "memory.gpu_expert_cache.experts_per_layer=2")
    assert moved(folder, "model=switch.json", *more) == moved(folder, "model=switch-base-128", *more)


def test_f05_k_quants_fall_back(tmp_path: Path) -> None:
    folder = copied("f05", tmp_path)
    assert moved(folder) == 29_696
    assert "rows of 64 are Q5_0" in pd.read_csv(folder / "out" / "summary.csv").warnings[0]


@pytest.mark.parametrize("name", ["f03", "f04", "f09"])
def test_every_config_is_one_line_or_a_run(tmp_path: Path, name: str) -> None:
    folder = copied(name, tmp_path)
    for path in sorted(folder.glob("*.json")):
        words = ("--set", f"model={path.name}", "--set", "memory.gpu_expert_cache=100 GB")
        done = moesim(folder, "run", "e.yaml", *words, "--out", "out")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        if name == "f03" and path.name != "text-config-null.json":  # there null is as absent
            assert path.name in done.stderr
        if path.name == "as-published.json":
            assert "did you mean" not in done.stderr
        if path.name == "as-hinted.json":
            assert "kv_lora_rank" in done.stderr
        if name == "f09":
            assert "513.00 KiB" in done.stderr, done.stderr
