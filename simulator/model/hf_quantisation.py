"""Which precisions the weights of a Hugging Face model have: its dtype, and its quantization_config."""

from __future__ import annotations

from collections.abc import Callable

from simulator.errors import InputError
from simulator.model.hf_keys import Keys
from simulator.model.precision import BITS, FP8_BLOCK

DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float": "fp32", "half": "fp16"}
WAY_OUT = "take the key out of a copy of the file, and name precision.experts in the experiment"


def precisions(config: Keys, *, packed_experts: bool) -> dict[str, str]:
    """Return ``main_precision`` and ``dense_precision``, as far as the file tells; InputError if unclear.

    A quantised model keeps its router and norms in the dtype; they are small. What is not an expert counts as
    quantised too, unless the file spares the attention, or ``packed_experts``: the format is for experts.
    """
    key = "dtype" if config.data.get("dtype") is not None else "torch_dtype"
    dtype = (config.word(key) or "auto").removeprefix("torch.")
    if dtype not in DTYPES and dtype != "auto":
        raise config.fault(key, dtype, f"allowed: {', '.join(DTYPES)}")
    plain = DTYPES.get(dtype, "fp16")
    quantised = config.inner("quantization_config")
    if quantised is None:
        return {"main_precision": plain, "dense_precision": plain}
    method = quantised.word("quant_method") or ""
    if method not in _METHODS:
        raise InputError(
            f"{quantised.where}: quant_method",
            f"{method!r} is not read; known: {', '.join(_METHODS)}",
            WAY_OUT,
        )
    experts = _METHODS[method](quantised)
    spared = packed_experts or method == "mxfp4" or _spares_attention(quantised)
    return {"main_precision": experts, "dense_precision": plain if spared else experts}


def _spares_attention(config: Keys) -> bool:
    names = [*config.listed("modules_to_not_convert", str), *config.listed("ignore", str)]
    return any("attn" in name or "attention" in name for name in names)


def _known(config: Keys, name: str) -> str:
    if name not in BITS:
        raise InputError(config.where, f"asks for {name}, which is not known here", WAY_OUT)
    return name


def _fp8(config: Keys) -> str:
    block = config.listed("weight_block_size", int)
    if block not in ([], [FP8_BLOCK, FP8_BLOCK]):
        raise config.fault("weight_block_size", block, f"[{FP8_BLOCK}, {FP8_BLOCK}], or absent; {WAY_OUT}")
    return "fp8" if block else "fp8-plain"


def _grouped(config: Keys, bits: int, zero: str) -> str:
    if config.data.get("group_size") in (None, -1):  # a scale for a row, which is not counted
        return _known(config, f"int{bits}")
    return _known(config, f"int{bits}-g{config.count('group_size')}{zero}")


def _with_zeros(config: Keys) -> str:
    return _grouped(config, config.count("bits", most=16), "-zp")


def _compressed(config: Keys) -> str:
    groups = config.inner("config_groups")
    if groups is None or len(groups.data) != 1:
        raise InputError(f"{config.where}: config_groups", "not one group of tensors", WAY_OUT)
    (name,) = groups.data
    group = groups.inner(name)
    weights = group and group.inner("weights")
    if weights is None:
        raise InputError(f"{groups.where}: {name}", "says nothing of weights", WAY_OUT)
    bits = weights.count("num_bits", most=16)
    if weights.word("type") == "float":
        if bits == 8:
            return "fp8-plain"
        return _known(weights, "NVFP4" if bits == 4 and weights.data.get("group_size") == 16 else f"fp{bits}")
    zero = "" if weights.flag("symmetric", default=True) else "-zp"
    return _grouped(weights, bits, zero)


def _modelopt(config: Keys) -> str:
    algorithm = config.word("quant_algo") or ""
    known = {"NVFP4": "NVFP4", "FP8": "fp8-plain"}
    if algorithm not in known:
        raise config.fault("quant_algo", algorithm, f"allowed: {', '.join(known)}; {WAY_OUT}")
    return known[algorithm]


_METHODS: dict[str, Callable[[Keys], str]] = {
    "mxfp4": lambda _config: "MXFP4",
    "fp8": _fp8,
    "awq": _with_zeros,
    "gptq": _with_zeros,
    "compressed-tensors": _compressed,
    "modelopt": _modelopt,
}
