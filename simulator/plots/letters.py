"""Letters that the style's font lacks: which installed fonts have them, and which nobody has."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

LAST_RESORT = "Last Resort"
"""A font that has a box for every letter."""


@cache
def _letters_of(path: str) -> frozenset[int]:
    """Return the code points that a font has; none where it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


def fallback(texts: Iterable[str], base: str = "DejaVu Sans") -> tuple[list[str], str]:
    """Return the families to fall back on for ``texts``, best first, and the letters that none has."""
    from matplotlib import font_manager

    missing = {ord(letter) for text in texts for letter in text if letter.isprintable()}
    missing -= _letters_of(font_manager.findfont(base))
    families: list[str] = []
    fonts = [font for font in font_manager.fontManager.ttflist if not font.name.startswith(LAST_RESORT)]
    fonts.sort(key=lambda font: (font.name, font.fname))
    while missing:
        found = {font.name: missing & _letters_of(font.fname) for font in fonts}
        name = max(found, key=lambda family: len(found[family]), default="")
        if not name or not found[name]:
            break
        families.append(name)
        missing -= found[name]
    return families, "".join(map(chr, sorted(missing)))
