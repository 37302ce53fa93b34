"""Text from elsewhere that is shown: on a terminal, and in a table that a spreadsheet opens."""

from __future__ import annotations

import re

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that move, colour or reorder what a terminal shows, but for the tab and the end of a line."""
FORMULA = re.compile(r"[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")


def printable(text: str) -> str:
    """Return text with control characters as escapes: nothing in it is a command to a terminal."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def csv_cell(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: one that looks so begins with an apostrophe.

    Numbers are left alone (OWASP, CSV Injection).
    """
    return f"'{text}" if FORMULA.match(text) and not NUMBER.match(text) else text
