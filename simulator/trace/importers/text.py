"""Text of unknown origin: lines of bounded length, JSON without duplicate keys."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.trace.importers.limits import (
    CSV_EXPANSION,
    MOST_LINE,
    TEXT_EXPANSION,
    brief,
    check_file,
    check_size,
)

HEAD = 4096  # bytes that sniffing looks at


def head(path: Path) -> bytes:
    """Return the first bytes of a plain file, nothing of anything else."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(HEAD)


def lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file with their ends. Errors: InputError (a line that is too long)."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MOST_LINE + 1):
            number += 1
            if len(line) > MOST_LINE:
                raise InputError(
                    f"{path} line {number}", f"longer than {MOST_LINE:,} bytes", "not this format"
                )
            yield line.decode("utf-8")


def preamble(path: Path) -> list[str]:
    """Return the ``#`` lines above a table. Errors: InputError (too much of it, a folder)."""
    check_file(path, CSV_EXPANSION)
    found: list[str] = []
    n_characters = 0
    for line in lines(path):
        if not line.startswith("#"):
            break
        found.append(line)
        n_characters += len(line)
        if n_characters > MOST_LINE:
            raise InputError(str(path), f"its # lines are longer than {MOST_LINE:,} bytes", "not this format")
    return found


def key_values(line: str) -> dict[str, str]:
    """Return the ``key=value`` pairs of a ``#`` line; a value goes on until the next key."""
    return {pair[1]: pair[2] for pair in re.finditer(r"(?<!\S)(\w+)=((?:(?!\s+\w+=)[^\r\n])*)", line)}


def check_facts(where: str, facts: Mapping[str, str], what: str) -> None:
    """Check that a preamble names the model and its sizes. Errors: InputError (one is missing, no number)."""
    for name in ("model", "n_layer", "n_expert", "n_expert_used"):
        if not re.fullmatch(r".+" if name == "model" else r"[0-9]{1,9}", facts.get(name, "").strip()):
            raise InputError(where, f"no '{name}=' in its # lines", f"not {what}")


def parse_json(text: str, where: str) -> Any:
    """Return what JSON text holds. Errors: InputError (not JSON, a key twice, nested too deeply)."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"not JSON ({error})", "it may be truncated") from error


def json_files(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield name and content of a JSON file, or of each ``*.json`` of a folder in order of name."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise InputError(str(path), "no *.json in this folder", "one file a sequence")
    check_size(str(path), sum(check_file(file, TEXT_EXPANSION) for file in files))
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (ValueError, OSError) as error:
            raise InputError(str(file), f"not JSON ({error})", "it may be truncated") from error
        yield str(file), parse_json(text, str(file))


def left_out(names: Iterable[str]) -> str:
    """Return what to note of files that lie beside recordings, nothing where there are none."""
    others = ", ".join(sorted(names))
    return f"left out, without records: {others}" if others else ""


def first_json(path: Path) -> bytes:
    """Return the first bytes of a JSON file, or of the first ``*.json`` of a folder."""
    return head(min(path.glob("*.json"), default=path))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, having checked that each key stands once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        key, times = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key '{brief(key)}' {times} times")
    return found
