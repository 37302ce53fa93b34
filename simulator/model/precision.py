"""Number formats: exact bits per weight, and mixes that differ by layer and matrix.

Bits are those of facts.md §13 (block layouts of GGUF tensor types, ggml-common.h): Q8_0 is 32
weights of 8 bits and one fp16 scale, so 34 * 8 / 32 = 8.5.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from simulator.errors import did_you_mean

_GGUF = (
    "Q8_0 8.5, Q6_K 6.5625, Q5_0 5.5, Q5_1 6, Q5_K 5.5, Q4_0 4.5, Q4_1 5, Q4_K 4.5, IQ4_NL 4.5, "
    "IQ4_XS 4.25, MXFP4 4.25, NVFP4 4.5, Q3_K 3.4375, IQ3_S 3.4375, IQ3_XXS 3.0625, Q2_K 2.625, "
    "IQ2_S 2.5625, IQ2_XS 2.3125, IQ2_XXS 2.0625, Q2_0 2.25, IQ1_M 1.75, IQ1_S 1.5625, TQ2_0 2.0625, "
    "TQ1_0 1.6875"
)
_PLAIN = "fp32 32, fp16 16, bf16 16, int8 8, int4 4, int2 2"
BITS = {name: Fraction(bits) for name, bits in map(str.split, f"{_PLAIN}, {_GGUF}".split(", "))}
MIXES = ("Q4_K_M",)
MAIN = "main"  # whatever is the model's own

_BY_LOWER_CASE = {name.lower(): name for name in (*BITS, *MIXES)}


def canonical(name: str) -> str:
    """Return a precision as it is written here, whatever its case; ValueError if unknown."""
    if name.lower() not in _BY_LOWER_CASE:
        raise ValueError(f"unknown precision; {did_you_mean(name, _BY_LOWER_CASE.values())}")
    return _BY_LOWER_CASE[name.lower()]


def tensor_bytes(n_weights: int, precision: str) -> int:
    """Return the bytes of ``n_weights`` in a uniform precision, rounded up."""
    bits = BITS[precision] * n_weights
    return -(-bits.numerator // (8 * bits.denominator))


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
