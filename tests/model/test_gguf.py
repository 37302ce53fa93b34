"""Models out of GGUF headers: layers, experts and every byte are those of the tensors."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

import simulator as moesim
from simulator.errors import InputError
from simulator.model.gguf_header import read_header
from simulator.model.load import load_model
from simulator.model.spec import ModelSpec
from tests.model.gguf_files import Tensors, write

HIDDEN, WIDTH, EXPERTS, VOCAB = 512, 256, 8, 1000


def facts(arch: str = "qwen3moe", **more: Any) -> dict[str, Any]:
    base = {"block_count": 3, "embedding_length": HIDDEN, "expert_used_count": 2, "attention.head_count": 8,
            "attention.head_count_kv": 2, "attention.key_length": 64}  # fmt: skip
    return {"general.architecture": arch} | {
        f"{arch}.{key.replace('__', '.')}": v for key, v in (base | more).items()
    }


def attention(layer: int) -> Tensors:
    shapes = {"q": (HIDDEN, 512), "k": (HIDDEN, 128), "v": (HIDDEN, 128), "output": (512, HIDDEN)}
    return {f"blk.{layer}.attn_{name}.weight": (shape, "Q8_0") for name, shape in shapes.items()}


def experts(layer: int, down: str = "Q4_K", kind: str = "Q4_K") -> Tensors:
    inner = (HIDDEN, WIDTH, EXPERTS)
    return {
        f"blk.{layer}.ffn_gate_inp.weight": ((HIDDEN, EXPERTS), "F32"),
        f"blk.{layer}.ffn_gate_exps.weight": (inner, kind),
        f"blk.{layer}.ffn_up_exps.weight": (inner, kind),
        f"blk.{layer}.ffn_down_exps.weight": ((WIDTH, HIDDEN, EXPERTS), down),
    }


ENDS: Tensors = {"token_embd.weight": ((HIDDEN, VOCAB), "Q8_0"), "output.weight": ((HIDDEN, VOCAB), "Q6_K")}


def plain(*layers: Tensors) -> Tensors:
    found = dict(ENDS)
    for number, layer in enumerate(layers):
        found |= attention(number) | dict(layer)
    return found


def one(kind: str, n: int = HIDDEN * WIDTH) -> int:
    """Return the bytes of a tensor of an expert, by hand: bits of a weight, times weights."""
    bits = {"Q4_K": 4.5, "Q6_K": 6.5625, "MXFP4": 4.25, "F16": 16, "Q8_0": 8.5, "BF16": 16}
    return int(n * bits[kind] / 8)


def test_bytes_are_those_of_each_layer_s_tensors(tmp_path: Path) -> None:
    """Q4_K_M: down is Q6_K in some layers."""
    path = write(
        tmp_path / "m-Q4_K_M.gguf", facts(), plain(experts(0, "Q6_K"), experts(1), experts(2, "Q6_K"))
    )
    model = load_model(str(path))
    assert model.name == "m-Q4_K_M"
    small, large = one("Q4_K"), one("Q6_K")
    assert model.expert_tensor_bytes() == (
        (small, small, large),
        (small, small, small),
        (small, small, large),
    )
    assert (model.n_experts, model.top_k, model.moe_layers) == (EXPERTS, 2, (0, 1, 2))
    dense = sum(t.n_bytes for t in read_header(path).tensors.values() if "exps" not in t.name)
    assert model.non_expert_bytes() == dense
    assert model.total_params == pytest.approx(
        sum(t.n_weights for t in read_header(path).tensors.values()), rel=0.001
    )


def test_fused_gate_and_up_and_mxfp4(tmp_path: Path) -> None:
    layer = {
        "blk.0.ffn_gate_inp.weight": ((HIDDEN, EXPERTS), "F32"),
        "blk.0.ffn_gate_up_exps.weight": ((HIDDEN, 2 * WIDTH, EXPERTS), "MXFP4"),
        "blk.0.ffn_down_exps.weight": ((WIDTH, HIDDEN, EXPERTS), "MXFP4"),
    }
    model = load_model(str(write(tmp_path / "g.gguf", facts("gptoss"), plain(layer))))
    assert model.fused_gate_up
    assert model.expert_tensor_bytes() == ((2 * one("MXFP4"), one("MXFP4")),)
    assert model.main_precision == "MXFP4"


def test_shared_experts_and_dense_layers_first(tmp_path: Path) -> None:
    dense = {f"blk.0.ffn_{name}.weight": ((HIDDEN, 1024) if name != "down" else (1024, HIDDEN), "Q8_0")
             for name in ("gate", "up", "down")}  # fmt: skip
    shared = {f"blk.1.ffn_{name}_shexp.weight": ((HIDDEN, 128) if name != "down" else (128, HIDDEN), "Q8_0")
              for name in ("gate", "up", "down")}  # fmt: skip
    model = load_model(
        str(write(tmp_path / "d.gguf", facts("bailingmoe2"), plain(dense, {**experts(1), **shared})))
    )
    assert (model.moe_layers, model.dense_ffn, model.shared_ffn) == ((1,), 1024, 128)


def test_latent_attention(tmp_path: Path) -> None:
    tensors = dict(ENDS) | dict(experts(0)) | {"blk.0.attn_kv_a_mqa.weight": ((HIDDEN, 96), "Q8_0")}
    more = {"attention.kv_lora_rank": 64, "rope.dimension_count": 32, "attention.key_length": 96}
    model = load_model(str(write(tmp_path / "l.gguf", facts("deepseek2", **more), tensors)))
    assert model.kv_bytes_per_token(0) == (64 + 32) * 2


def test_layers_without_a_growing_cache(tmp_path: Path) -> None:
    states = {
        "blk.0.ssm_in.weight": ((HIDDEN, 1024), "Q8_0"),
        "blk.1.ssm_in.weight": ((HIDDEN, 1024), "Q8_0"),
    }
    tensors = dict(ENDS) | states | dict(attention(2))
    for layer in range(3):
        tensors |= dict(experts(layer))
    model = load_model(str(write(tmp_path / "h.gguf", facts("granitehybrid"), tensors)))
    assert model.kv_bytes_per_token(0) == -(-2 * 2 * 64 * 2 // 3)  # the mean over the layers


def test_experts_as_tensors_of_their_own(tmp_path: Path) -> None:
    tensors = dict(ENDS) | dict(attention(0))
    for expert in range(4):
        for name in ("gate", "up", "down"):
            shape = (WIDTH, HIDDEN) if name == "down" else (HIDDEN, WIDTH)
            tensors[f"blk.0.ffn_{name}.{expert}.weight"] = (shape, "Q4_K")
    model = load_model(str(write(tmp_path / "old.gguf", facts("llama"), tensors)))
    assert (model.n_experts, model.expert_bytes()) == (4, 3 * one("Q4_K"))


def test_a_split_model_is_all_of_its_parts(tmp_path: Path) -> None:
    whole = load_model(str(write(tmp_path / "w.gguf", facts(), plain(experts(0), experts(1)))))
    items = list(plain(experts(0), experts(1)).items())
    first = write(tmp_path / "m-00001-of-00002.gguf", facts(), dict(items[:5]))
    with pytest.raises(InputError, match=r"m-00002-of-00002\.gguf is not beside it"):
        load_model(str(first))
    write(tmp_path / "m-00002-of-00002.gguf", {}, dict(items[5:]))
    split = load_model(str(first))
    assert split.name == "m"
    assert split.expert_tensor_bytes() == whole.expert_tensor_bytes()
    assert split.non_expert_bytes() == whole.non_expert_bytes()


def test_a_run_moves_the_file_s_bytes(tmp_path: Path) -> None:
    layers = [experts(layer, "Q6_K" if layer % 2 else "Q4_K") for layer in range(3)]
    path = write(tmp_path / "m.gguf", facts(), plain(*layers))
    trace = tmp_path / "t.jsonl"
    trace.write_text("".join(f'{{"experts": [[{i}, 7], [{i}, 6], [{i}, 5]]}}\n' for i in range(4)))
    moesim_import(trace, tmp_path / "t.parquet")
    results = moesim.run(
        {
            "name": "g",
            "model": str(path),
            "hardware": "rtx3060-12gb-pcie4",
            "trace": str(tmp_path / "t.parquet"),
            "memory": {"gpu_expert_cache": {"fraction": 0.99}},
            "runtime": {"parts": "tensors"},
            "software": "ideal",
        }
    )
    model = load_model(str(path))
    used = [5, 5, 5]  # experts of each layer: 0 to 3, and one more
    moved = sum(n * size for n, size in zip(used, model.expert_bytes_by_layer(), strict=True))
    assert results.summary["bytes_cpu_to_gpu"].item() == moved
    assert results.summary["model"].item() == "m"


def moesim_import(source: Path, out: Path) -> None:
    from simulator.trace.importers.options import ImportOptions
    from simulator.trace.importers.registry import import_trace
    from simulator.trace.parquet import write_trace

    write_trace(import_trace(source, "jsonl", ImportOptions(n_experts=EXPERTS, phase="decode")), out)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GIF8" + bytes(40), "no GGUF file; its first four letters are GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "GGUF of version 9; versions 2, 3 are read"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1), "its header is damaged or cut off"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "its header is damaged or cut off"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**50), "its header is damaged or cut off"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "has no experts"),
    ],
)
def test_what_is_no_model_is_said_in_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(InputError) as error:
        load_model(str(tmp_path / "m.gguf"))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_header_without_k_is_refused(tmp_path: Path) -> None:
    found = {key: v for key, v in facts().items() if "used" not in key}
    with pytest.raises(InputError, match=r"has no qwen3moe\.expert_used_count"):
        load_model(str(write(tmp_path / "m.gguf", found, plain(experts(0)))))


def test_the_package_of_the_format_reads_and_writes_the_same(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "qwen3moe")
    for key, said in facts().items():
        if key != "general.architecture":
            writer.add_uint32(key, said)
    quant = {"Q8_0": gguf.GGMLQuantizationType.Q8_0, "Q6_K": gguf.GGMLQuantizationType.Q6_K,
             "Q4_K": gguf.GGMLQuantizationType.Q4_K, "F32": gguf.GGMLQuantizationType.F32}  # fmt: skip
    tensors = plain(experts(0, "Q6_K"))
    import numpy as np

    for name, (shape, kind) in tensors.items():
        rows = shape[::-1]
        n_bytes = gguf.quants.quant_shape_to_byte_shape(rows, quant[kind])
        dtype = np.float32 if kind == "F32" else np.uint8
        writer.add_tensor_info(
            name, rows if kind == "F32" else n_bytes, np.dtype(dtype), 0, raw_dtype=quant[kind]
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    model = load_model(str(tmp_path / "m.gguf"))
    ours = load_model(str(write(tmp_path / "ours.gguf", facts(), tensors)))
    same = {"name", "source", "title"}
    assert model.model_dump(exclude=same) == ours.model_dump(exclude=same)
    assert isinstance(model, ModelSpec)
