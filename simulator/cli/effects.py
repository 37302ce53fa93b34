"""Options that have no effect are refused, so that nobody believes that they had one."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from simulator.errors import InputError

IDLE: dict[str, tuple[str, ...]] = {
    "run": ("--scheduler without --backend dask", "--jobs with --backend dask"),
    "compare": ("--force without --out",),
    "trace fetch": ("--force without --out",),
    "trace record": (
        "--temperature with --decode 0",
        "--top-p with --decode 0",
        "--seed with --decode 0",
        "--top-p with --temperature 0",
        "--seed with --temperature 0",
    ),
    "validate phone": ("--fit-tokens without --fit-trace",),
    "validate reference": ("--folder with --gpu",),
    "validate measured": (),
    "validate published": (),
}
"""By command, when an option that was given has no effect: with or without another, or a value of another.

What depends on more than options is refused where it is known: options of importers, ``plot --width``.
"""


class Effective(TyperCommand):
    """A command that refuses options without effect before anything else. Errors: InputError."""

    def invoke(self, ctx: Any) -> Any:
        """Check the options that were given, and run the command."""
        for rule in IDLE[_path(ctx)]:
            option, word, other = rule.split(" ", 2)
            if _given(ctx, option) and _holds(ctx, other) == (word == "with"):
                raise InputError(option, f"has no effect {word} {other}", "leave it out")
        return super().invoke(ctx)


def _path(ctx: Any) -> str:
    """Return a command's words, without that of the program."""
    words: list[str] = []
    while ctx.parent is not None:
        words.insert(0, ctx.info_name)
        ctx = ctx.parent
    return " ".join(words)


def _given(ctx: Any, option: str) -> bool:
    source = ctx.get_parameter_source(_name(ctx, option))
    return source is not None and source.name == "COMMANDLINE"


def _holds(ctx: Any, text: str) -> bool:
    """Return whether ``--option`` was given, or has the value of ``--option value``."""
    option, _, value = text.partition(" ")
    found = ctx.params[_name(ctx, option)]
    if not value:
        return _given(ctx, option) and found is not False
    return bool(found == (float(value) if value.isdigit() else value))


def _name(ctx: Any, option: str) -> str:
    """Return the parameter that an option sets."""
    return str(next(one.name for one in ctx.command.params if option in one.opts))
