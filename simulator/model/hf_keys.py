"""Keys of a Hugging Face config.json, read by type: what is wrong with one is said in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.errors import InputError

MOST = 100_000_000
"""More than any width, vocabulary or number of experts."""
WRAPPED = ("tie_word_embeddings", "quantization_config", "dtype", "torch_dtype")
"""What a composite model may say beside its ``text_config``, for all its parts."""


class Keys:
    """The keys of a configuration; ``where`` is the file, ``kind`` its model type."""

    def __init__(self, where: str, data: Mapping[str, Any], kind: str = "") -> None:
        self.where, self.data, self.kind = where, data, kind

    def count(self, key: str, default: int | None = None, *, least: int = 1, most: int = MOST) -> int:
        """Return a whole number; null is as absent, which only a key with a default may be."""
        value = self.data.get(key)
        if value is None and default is not None:
            return default
        return self._whole(key, value, least, most)

    def maybe_count(self, key: str) -> int | None:
        """Return a whole number above 0, or None where it is absent or null."""
        value = self.data.get(key)
        return None if value is None else self._whole(key, value, 1, MOST)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.fault(key, value, "true or false")
        return default if value is None else value

    def word(self, key: str) -> str | None:
        """Return a text, or None."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, str):
            raise self.fault(key, value, "a text")
        return value

    def listed(self, key: str, kind: type) -> list[Any]:
        """Return a list of texts or of whole numbers; [] where it is absent or null."""
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or any(
            not isinstance(item, kind) or isinstance(item, bool) for item in value
        ):
            raise self.fault(key, value, f"a list of {'texts' if kind is str else 'whole numbers'}")
        return value

    def inner(self, key: str) -> Keys | None:
        """Return the keys of a mapping inside; None where it is absent or null."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.fault(key, value, "a mapping")
        return Keys(f"{self.where}: {key}", value, self.kind)

    def fault(self, key: str, value: object, wanted: str) -> InputError:
        """Return what to say of a value that cannot be."""
        said = "null" if value is None else f"{value!r:.60}"
        return InputError(f"{self.where}: {key}", f"is {said}", wanted)

    def _whole(self, key: str, value: object, least: int, most: int) -> int:
        if key not in self.data:
            raise InputError(f"{self.where}: {key}", "missing key", f"{self.kind} configs have it")
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.fault(key, value, f"a whole number from {least} to {most}")
        return value
