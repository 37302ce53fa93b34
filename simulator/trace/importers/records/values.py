"""Cells of foreign records: lists in any dress, numbers of layers in names, words for phases."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from simulator.trace.core import DECODE, PREFILL

PHASES = {
    **dict.fromkeys(("prefill", "prompt", "context", "encode", "extend", "0", "input"), PREFILL),
    **dict.fromkeys(
        (
            "decode",
            "decoding",
            "generation",
            "generate",
            "generated",
            "gen",
            "completion",
            "answer",
            "output",
            "1",
        ),
        DECODE,
    ),
}
YES, NO = {"true", "1", "yes"}, {"false", "0", "no"}
NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?(?:nan|NaN|inf|Infinity)"
LAYER = re.compile(r"(?:layers?|blk|blocks?|h)[._\[ -]*([0-9]{1,4})(?![0-9])", re.IGNORECASE)
SCALAR = re.compile(r"\b(?:np|numpy)\.\w+\(([^()]*)\)")
"""A number as NumPy 2 prints it: np.int64(3)."""
WRAPPER = re.compile(
    r"^(?:torch\.|np\.|numpy\.)?(?:tensor|array|list|tuple)\((.*?)(?:,\s*\w+=[^)]*)?\)$", re.DOTALL
)


def numbers(cell: Any) -> list[float | int] | None:
    """Return the numbers of a cell: a list, or the text of one; None for an empty cell.

    Errors: ValueError (anything else).
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, str):
        return _of_text(cell)
    if isinstance(cell, bool):
        raise ValueError("true or false in place of a list")  # noqa: TRY004 - the file's fault
    if isinstance(cell, (int, float)):
        return [cell]
    if not isinstance(cell, (list, tuple)):
        raise ValueError("no list of numbers")  # noqa: TRY004 - the file's fault
    if len(cell) == 1 and isinstance(cell[0], (list, tuple)):
        return numbers(cell[0])  # a batch of one
    return [_number(value) for value in cell]


def rows(cell: Any) -> list[list[float | int]] | None:
    """Return the lists of a cell that is a list of lists, or the text of one; None for any other.

    Errors: ValueError (lists of something else than numbers).
    """
    if isinstance(cell, str):
        text = SCALAR.sub(r"\1", cell)
        if not re.search(r"[\[(]\s*[\[(]", text):
            return None
        return [_of_text(inner) or [] for inner in re.findall(r"[\[(]([^\[\]()]*)[\])]", text)]
    while isinstance(cell, (list, tuple)) and len(cell) == 1 and _nested(cell[0]):
        cell = cell[0]  # a batch of one
    return [[_number(value) for value in one] for one in cell] if _nested(cell) else None


def matrix(cell: Any) -> list[list[int]] | None:
    """Return whole numbers [tokens, k] of a cell of several tokens; None for any other."""
    try:
        found = rows(cell)
    except (ValueError, TypeError):
        return None
    whole_numbers = found is not None and all(type(one) is int for row in found for one in row)
    return found if found and len(found) > 1 and whole_numbers else None  # type: ignore[return-value]


def listed(cell: Any) -> list[Any] | None:
    """Return the entries of a list, or of the text of one; None where it is a single value."""
    if isinstance(cell, (list, tuple)):
        return [*cell]
    return [*(_of_text(cell) or [])] if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "(") else None


def _nested(cell: Any) -> bool:
    return (
        isinstance(cell, (list, tuple)) and bool(cell) and all(isinstance(one, (list, tuple)) for one in cell)
    )


def pairs(cell: Any) -> tuple[list[Any], list[Any]] | None:
    """Return ids and weights of a cell with both: an object by id, pairs, or objects; None of any other."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("{", "["):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return None
    if isinstance(cell, dict) and cell and all(re.fullmatch(r"[0-9]+", str(key)) for key in cell):
        return [int(key) for key in cell], [_number(value) for value in cell.values()]
    if not isinstance(cell, (list, tuple)) or not cell:
        return None
    if all(isinstance(one, (list, tuple)) and len(one) == 2 for one in cell) and len(cell) > 1:
        return [_number(one[0]) for one in cell], [_number(one[1]) for one in cell]
    if all(isinstance(one, dict) for one in cell):
        id_key = next((key for key in ("expert", "expert_id", "id", "index", "idx") if key in cell[0]), None)
        keys = ("weight", "prob", "score", "gate", "value", "p", "probability")
        weight_key = next((key for key in keys if key in cell[0]), None)
        if id_key and all(id_key in one for one in cell):
            with_weights = weight_key is not None and all(weight_key in one for one in cell)
            weights = [_number(one[weight_key]) for one in cell] if with_weights else []
            return [_number(one[id_key]) for one in cell], weights
    return None


def layer(cell: Any) -> int:
    """Return the number of a layer, also out of a module's name. Errors: ValueError (none, or several)."""
    if isinstance(cell, bool) or cell is None:
        raise ValueError("no number of a layer")
    if isinstance(cell, (int, float)):
        if cell != int(cell) or not 0 <= cell <= 9999:
            raise ValueError("no number of a layer")
        return int(cell)
    text = str(cell).strip()
    if re.fullmatch(r"[0-9]{1,4}(\.0)?", text):
        return int(text.partition(".")[0])
    if match := LAYER.search(text):
        return int(match[1])
    found = re.findall(r"[0-9]+", text)
    if len(found) != 1 or len(found[0]) > 4:
        raise ValueError("no number of a layer")
    return int(found[0])


def whole(cell: Any) -> int | None:
    """Return a whole number, also from text; None where it is none."""
    if isinstance(cell, bool) or cell is None:
        return None
    if isinstance(cell, (int, float)):
        return int(cell) if cell == cell and abs(cell) < 2**62 and cell == int(cell) else None  # noqa: PLR0124 - NaN
    text = str(cell).strip()
    return int(text.partition(".")[0]) if re.fullmatch(r"-?[0-9]{1,18}(\.0*)?", text) else None


def phase(cell: Any, column: str) -> int:
    """Return the code of a phase, of a word or of a flag such as ``is_prefill``. Errors: ValueError."""
    word = str(cell).strip().lower()
    if column.startswith("is_"):
        if word not in YES | NO:
            raise ValueError("neither true nor false")
        prompt = column in {"is_prefill", "is_prompt"}
        return PREFILL if (word in YES) == prompt else DECODE
    if word not in PHASES:
        raise ValueError("no phase: prefill, prompt, decode, generation, ...")
    return PHASES[word]


def _of_text(text: str) -> list[float | int] | None:
    text = SCALAR.sub(r"\1", text.strip())
    if any(text.count(opened) != text.count(closed) for opened, closed in ("[]", "()")):
        raise ValueError(f"the list '{text[:40]}' is cut off; the file may be truncated")
    while match := WRAPPER.match(text):
        text = match[1].strip()
    if text.lower() in {"", "nan", "none", "null", "[]"}:
        return None
    bare = re.sub(r"^[\[({\s]+|[\])}\s]+$", "", text)
    parts = [part for part in re.split(r"[\s,;|]+", bare) if part]
    return [_number(part) for part in parts] if parts else None


def _number(value: Any) -> float | int:
    if isinstance(value, str):
        value = value.strip().strip("'\"")
        if not re.fullmatch(NUMBER, value):
            raise ValueError(f"'{value[:40]}' is no number")
        return int(value) if re.fullmatch(r"[-+]?[0-9]{1,18}", value) else float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{str(value)[:40]!r} is no number")  # noqa: TRY004 - the file's fault
    return value
