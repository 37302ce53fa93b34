"""Whose fault a failure is: a user's policy, the input, the system, or ours; said in one line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from sys import modules
from types import FrameType

from policies.base import Policy
from simulator.errors import INTERRUPTS, InputError, PolicyError, built_in, said


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that could not be played, and why, in one line; ``details`` is the traceback.

    ``ours`` is whether moesim is to blame, and neither its input nor a policy of the user.
    """

    where: str
    cause: str
    ours: bool = False
    details: str = ""


class RunError(InputError):
    """A run that failed; the command line exits with 1 where that is a fault of ours, else with 2."""

    def __init__(self, failure: Failure, what: str = "the run failed") -> None:
        super().__init__(failure.where, what, failure.cause)
        self.failure = failure
        self.status = 1 if failure.ours else 2

    def __reduce__(self) -> tuple[type[RunError], tuple[Failure, str]]:  # type: ignore[override]
        """Return how to make it again: it travels between processes."""
        return type(self), (self.failure, self.what)


def is_failure(error: BaseException) -> bool:
    """Return whether an error ends a run only: what a policy raises does, whatever it is; ctrl-C does not."""
    if isinstance(error, INTERRUPTS):
        return False
    return isinstance(error, Exception) or any(_of_policy(raised) is not None for raised in _chain(error))


def failure(where: str, error: BaseException) -> Failure:
    """Return what to say of an error that ended a run."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, InputError | PolicyError):
        return Failure(where, said(error), getattr(error, "ours", False), details)
    for raised in _chain(error):
        if (fault := _of_policy(raised)) is not None:
            return Failure(where, fault, details=details)
    if isinstance(error, OSError):  # a full disk, say
        return Failure(
            where, f"{error.filename or 'the system'}: {error.strerror or said(error)}", details=details
        )
    last = traceback.extract_tb(error.__traceback__)[-1]
    fault = f"{_named(error)} (line {last.lineno} of {last.filename}): a fault of moesim, please report it"
    return Failure(where, fault, ours=True, details=details)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it: a StopIteration, say, reaches us as a RuntimeError."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_policy(error: BaseException) -> str | None:
    """Return what to say of an error that a user's policy raised; None if none did."""
    frames = list(traceback.walk_tb(error.__traceback__))
    kinds = [_kind(frame) for frame, _ in frames]
    kind = next((kind for kind in reversed(kinds) if kind is not None), None)
    if kind is None:
        return None
    names = frames[kinds.index(kind)][0].f_code.co_qualname.split(".")
    method = next(name for name in reversed(names) if name[0] != "<")  # not <locals>, <genexpr>
    source = getattr(modules.get(kind.__module__), "__file__", None)
    own = [(frame, line) for frame, line in frames if frame.f_code.co_filename == source]
    frame, line = (own or frames)[-1]
    where = f"line {line} of {Path(frame.f_code.co_filename).name}"
    return f"{kind.__qualname__}.{method} raised {_named(error)} ({where})"


def _kind(frame: FrameType) -> type[Policy] | None:
    """Return the class of the user's policy that a frame belongs to: of its ``self``, or by its name."""
    owner = frame.f_locals.get("self")
    named = frame.f_globals.get(frame.f_code.co_qualname.partition(".")[0])
    for kind in (type(owner), named):
        if isinstance(kind, type) and issubclass(kind, Policy) and not built_in(kind):
            return kind
    return None


def _named(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {said(error)}".removesuffix(": ").split())
