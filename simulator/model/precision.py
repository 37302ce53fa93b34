"""Number formats: exact bits per weight, the blocks that rows are cut into, and mixes that differ by matrix.

GGUF types have the block layouts of llama.cpp's ggml-common.h: Q8_0 is 32 weights of 8 bits and one fp16
scale, so 34 * 8 / 32 = 8.5. Where a row is no multiple of a type's block, llama.cpp stores the tensor in
another type (llama-quant.cpp, ``tensor_type_fallback``): see ``stored``.
``int4-g128`` is 4 bits and an fp16 scale for each 128 weights of a row (compressed-tensors, symmetric);
``int4-g128-zp`` has a zero point of 4 bits beside each scale too (AWQ, GPTQ). ``fp8`` has an fp32 scale for
each block of 128 x 128 weights (DeepSeek-V3, arXiv 2412.19437, §3.3), ``fp8-plain`` one a row or a tensor,
which is not counted.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from simulator.errors import did_you_mean

SUPER_BLOCK = 256
_OF_256 = (
    "Q6_K 6.5625, Q5_K 5.5, Q4_K 4.5, IQ4_XS 4.25, Q3_K 3.4375, IQ3_S 3.4375, IQ3_XXS 3.0625, Q2_K 2.625, "
    "IQ2_S 2.5625, IQ2_XS 2.3125, IQ2_XXS 2.0625, IQ1_M 1.75, IQ1_S 1.5625, TQ2_0 2.0625, TQ1_0 1.6875"
)
_OF_32 = "Q8_0 8.5, Q5_0 5.5, Q5_1 6, Q4_0 4.5, Q4_1 5, IQ4_NL 4.5, MXFP4 4.25, Q2_0 2.25"
_PLAIN = "fp32 32, fp16 16, bf16 16, int8 8, int4 4, int2 2, fp8-plain 8"


def _table(text: str) -> dict[str, Fraction]:
    return {name: Fraction(bits) for name, bits in map(str.split, text.split(", "))}


GROUPS = {
    f"int{bits}-g{group}{zero}": (bits, group, 16 + (bits if zero else 0))
    for bits in (2, 3, 4, 8)
    for group in (32, 64, 128)
    for zero in ("", "-zp")
} | {"NVFP4": (4, 16, 8)}
"""Bits of a weight, weights of a row that share a scale, bits of scale and zero point."""
FP8_BLOCK = 128
BITS = {
    **_table(f"{_PLAIN}, {_OF_32}, {_OF_256}"),
    "fp8": 8 + Fraction(32, FP8_BLOCK**2),
    **{name: bits + Fraction(more, group) for name, (bits, group, more) in GROUPS.items()},
}
"""Bits of a weight in a row that is whole blocks."""
BLOCK = dict.fromkeys(_table(_OF_32), 32) | dict.fromkeys(_table(_OF_256), SUPER_BLOCK)
FALLBACK = {
    **{name: "IQ4_NL" for name in BLOCK if name.startswith("IQ") and BLOCK[name] == SUPER_BLOCK},
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
"""What llama.cpp takes for rows that are no multiple of 256."""
MIXES = ("Q4_K_M",)
MAIN = "main"  # whatever is the model's own

_BY_LOWER_CASE = {name.lower(): name for name in (*BITS, *MIXES)}


def canonical(name: str) -> str:
    """Return a precision as it is written here, whatever its case; ValueError if unknown."""
    if name.lower() not in _BY_LOWER_CASE:
        raise ValueError(f"unknown precision; {did_you_mean(name, _BY_LOWER_CASE.values())}")
    return _BY_LOWER_CASE[name.lower()]


def stored(precision: str, columns: int) -> str:
    """Return the type in which rows of ``columns`` weights are stored; ValueError if they cannot be.

    What has blocks of 256 falls back as llama.cpp has it: to a type of blocks of 32, or else to fp16.
    """
    block = BLOCK.get(precision, 1)
    if columns % block == 0:
        return precision
    if block == SUPER_BLOCK:
        return FALLBACK[precision] if columns % 32 == 0 else "fp16"
    raise ValueError(f"{precision} needs rows of a multiple of {block} weights; they have {columns}")


def tensor_bytes(n_weights: int, precision: str) -> int:
    """Return the bytes of ``n_weights`` of no particular shape in a uniform precision, rounded up."""
    bits = BITS[precision] * n_weights
    return -(-bits.numerator // (8 * bits.denominator))


def matrix_bytes(rows: int, columns: int, precision: str) -> int:
    """Return the bytes of a matrix as it is stored, scales included; a row is what one output is made of."""
    kind = stored(precision, columns)
    if kind == "fp8":
        return rows * columns + 4 * -(-rows // FP8_BLOCK) * -(-columns // FP8_BLOCK)
    if kind in GROUPS:
        bits, group, more = GROUPS[kind]
        return -(-rows * (bits * columns + more * -(-columns // group)) // 8)
    return tensor_bytes(rows * columns, kind)


def matrix_precisions(precision: str, layer: int, n_layers: int, n_matrices: int) -> tuple[str, ...]:
    """Return the precision of each matrix of an expert in model layer ``layer``; down is the last.

    Q4_K_M stores ``down`` as Q6_K in the first and last eighth of the layers and in every third
    between, all else as Q4_K (llama.cpp, ``use_more_bits``). The bytes that the Qwen3-30B-A3B run
    in shared/traces/bigmoe recorded for each layer agree.
    """
    if precision not in MIXES:
        return (precision,) * n_matrices
    eighth = n_layers // 8
    more = layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth + 1) % 3 == 0
    return ("Q4_K",) * (n_matrices - 1) + ("Q6_K" if more else "Q4_K",)


def _uniform(name: str) -> str:
    if (known := canonical(name)) in MIXES:
        raise ValueError(f"{known} is a mix of types by layer; allowed here: {', '.join(BITS)}")
    return known


def _of_experts(name: str) -> str:
    return MAIN if name == MAIN else canonical(name)


def _schema(*names: str) -> WithJsonSchema:
    """Return the JSON Schema of names, as they are written here or in any case."""
    any_case = "|".join("".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else c for c in n) for n in names)
    return WithJsonSchema({"type": "string", "anyOf": [{"enum": [*names]}, {"pattern": f"^({any_case})$"}]})


Precision = Annotated[str, AfterValidator(canonical), _schema(*BITS, *MIXES)]
_Expert = WithJsonSchema({"anyOf": [{"type": "string", "const": MAIN}, _schema(*BITS, *MIXES).json_schema]})
ExpertPrecision = Annotated[str, AfterValidator(_of_experts), _Expert]
UniformPrecision = Annotated[str, AfterValidator(_uniform), _schema(*BITS)]
