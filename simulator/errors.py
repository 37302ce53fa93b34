"""Bad input, said in one line: where, what, what is allowed, did you mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Input that the user must change; the command line prints it and exits with status 2.

    ``where`` names the file, key or option; ``what`` is the fault; ``hint`` says what is allowed.
    """

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        self.where, self.what, self.hint = where, what, hint
        line = f"{where}: {what}" + (f"; {hint}" if hint else "")
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """Return how to make it again: it travels between processes."""
        return type(self), (self.where, self.what, self.hint)


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return a hint that names the closest allowed word, or lists them all."""
    names = sorted(allowed)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return "allowed: " + ", ".join(names)
