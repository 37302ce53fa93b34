"""The prompts of a recording, read from a file."""

from __future__ import annotations

import json
from pathlib import Path

from simulator.errors import InputError


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a file, in order.

    A ``.jsonl`` file has one object a line with the text under ``prompt`` (other keys are
    ignored), so a prompt may span lines; any other file is plain text, one prompt a line.
    Blank lines are skipped. Raises InputError where the file has no prompt, or a line none.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as fault:
        raise InputError(str(path), f"cannot read the prompts: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(str(path), "is not UTF-8 text", "one prompt a line, or JSONL") from None
    if path.suffix == ".jsonl":
        numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
        prompts = [_prompt(f"{path}:{number}", line) for number, line in numbered]
    else:
        prompts = [line for line in lines if line.strip()]
    if not prompts:
        raise InputError(str(path), "has no prompt", 'one a line, or {"prompt": "..."} a line in .jsonl')
    return prompts


def _prompt(where: str, line: str) -> str:
    """Return the prompt of one JSONL line."""
    try:
        value = json.loads(line)
    except ValueError:
        raise InputError(where, "is not JSON", 'a line of JSONL is {"prompt": "..."}') from None
    prompt = value.get("prompt") if isinstance(value, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(where, "has no text under 'prompt'", 'a line of JSONL is {"prompt": "..."}')
    return prompt
