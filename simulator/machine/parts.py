"""Machines of parts, as an experiment says them: a mapping, or the text ``gpu=NAME, host=NAME, ...``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from simulator.errors import InputError, did_you_mean
from simulator.machine.compose import Composition, composed
from simulator.machine.hardware import HardwareProfile

KEYS = tuple(Composition.model_fields)


def as_text(parts: Mapping[str, Any], where: str = "hardware") -> str:
    """Return parts as the one text that names the machine: ``gpu=..., host=..., memory=...``.

    Errors: InputError (a part that is unknown or missing, or two that do not fit together).
    """
    for key, value in parts.items():
        if key not in KEYS:
            raise InputError(f"{where}.{key}", "unknown part", did_you_mean(str(key), KEYS))
        if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
            raise InputError(
                f"{where}.{key}", f"is {value!r:.60}", "a name of moesim list parts, or as 2x32GB DDR5-6000"
            )
    text = ", ".join(f"{key}={parts[key]}" for key in KEYS if key in parts)
    compose(text, where)
    return text


def is_parts(text: str) -> bool:
    """Return whether a text names a machine by its parts."""
    return bool(re.match(rf"\s*({'|'.join(KEYS)})\s*=", text))


def compose(text: str, where: str = "hardware") -> HardwareProfile:
    """Return the machine that ``gpu=NAME, host=NAME, memory=...`` names. Errors: InputError."""
    return composed(_split(text, where), where)


def _split(text: str, where: str) -> Composition:
    parts: dict[str, Any] = {}
    for piece in text.split(","):
        key, equals, value = (one.strip() for one in piece.partition("="))
        if not equals or key not in KEYS or not value:
            hint = did_you_mean(key, KEYS) if equals else "gpu=NAME, host=NAME, memory=2x32GB DDR5-6000"
            raise InputError(where, f"'{piece.strip()[:60]}' is no part", hint)
        if key in parts:
            raise InputError(f"{where}.{key}", "twice", "each part once")
        parts[key] = value
    if (gpus := parts.get("gpus")) is not None:
        if not re.fullmatch(r"[1-9][0-9]?", gpus):
            raise InputError(f"{where}.gpus", f"is {gpus[:60]}", "a number of GPUs, from 1 on")
        parts["gpus"] = int(gpus)
    return Composition(**parts)
