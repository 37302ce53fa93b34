"""The prompts of a recording, read from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError

Messages = list[dict[str, str]]
"""A conversation: ``role`` and ``content`` of each message."""

Prompt = str | Messages
Tokens = Sequence[int] | npt.NDArray[np.int32]
"""A prompt as token ids."""

SHAPE = 'a line of JSONL is {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}'


def read_prompts(path: Path) -> list[Prompt]:
    """Return the prompts of a file, in order.

    A ``.jsonl`` file has one object a line with a text under ``prompt`` or a conversation under
    ``messages`` (other keys are ignored), so a prompt may span lines; any other file is plain
    text, one prompt a line. Blank lines are skipped. Raises InputError where the file has no
    prompt, or a line none.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as fault:
        raise InputError(str(path), f"cannot read the prompts: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(str(path), "is not UTF-8 text", "one prompt a line, or JSONL") from None
    prompts: list[Prompt]
    if path.suffix == ".jsonl":
        numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
        prompts = [_prompt(f"{path}:{number}", line) for number, line in numbered]
    else:
        prompts = [line for line in lines if line.strip()]
    if not prompts:
        raise InputError(str(path), "has no prompt", 'one a line, or {"prompt": "..."} a line in .jsonl')
    return prompts


def _prompt(where: str, line: str) -> Prompt:
    """Return the prompt of one JSONL line."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(where, "is not JSON", SHAPE) from None
    if not isinstance(value, dict) or "prompt" in value or "messages" not in value:
        prompt = value.get("prompt") if isinstance(value, dict) else None
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(where, "has no text under 'prompt'", SHAPE)
        return prompt
    messages = value["messages"]
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise InputError(where, "'messages' is no list of messages, each with a role and a text", SHAPE)
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def _is_message(value: Any) -> bool:
    """Tell whether a value is a message of text."""
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("role", "content"))
