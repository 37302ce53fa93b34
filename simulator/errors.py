"""Bad input, said in one line: where, what, what is allowed, did you mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from simulator.text import printable


class InputError(Exception):
    """Input that the user must change; the command line prints it and exits with status 2.

    ``where`` names the file, key or option; ``what`` is the fault; ``hint`` says what is allowed.
    """

    status: int = 2

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        self.where, self.what, self.hint = where, what, hint
        line = f"{where}: {what}" + (f"; {hint}" if hint else "")
        super().__init__(printable(" ".join(line.split())))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """Return how to make it again: it travels between processes."""
        return type(self), (self.where, self.what, self.hint)


class TerminatedError(SystemExit):
    """SIGTERM: everything unwinds, as on ctrl-C."""


INTERRUPTS = (KeyboardInterrupt, TerminatedError)
"""What ends the whole program, wherever it is raised."""


def said(error: BaseException) -> str:
    """Return what an error says of itself; a user's class may raise instead."""
    try:
        return str(error)
    except INTERRUPTS:
        raise
    except BaseException:  # noqa: BLE001 - sys.exit() too
        return "(it does not say what)"


class PolicyError(Exception):
    """A policy that did what it may not: one line that names class and method, and what to look at.

    ``ours`` is whether the policy is one of moesim's own.
    """

    def __init__(self, kind: type, method: str, said: str) -> None:
        self.kind, self.method, self.said = kind, method, said
        self.ours = built_in(kind)
        super().__init__(" ".join(f"{kind.__qualname__}.{method} {said}".split()))


def built_in(kind: type) -> bool:
    """Return whether a policy's class is one of moesim's own."""
    return kind.__module__.partition(".")[0] in {"policies", "simulator"}


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return a hint that names the closest allowed word, or lists them all."""
    names = sorted(allowed)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return "allowed: " + ", ".join(names)
