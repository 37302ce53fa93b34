"""The guide's table of what each system asks of a trace is true."""

from __future__ import annotations

import re
from dataclasses import replace

import simulator as moesim
from policies.registry import AXES, create
from simulator.errors import InputError
from simulator.experiment.systems import load_system, system_names
from tests.places import ROOT

GUIDE = (ROOT / "docs" / "guides" / "traces.md").read_text(encoding="utf-8")
WORDS = ("gate_weights", "predictions")
BARE = replace(moesim.read_trace("olmoe-mini"), predicted=(), predicted_weights=())


def needs(system: str) -> set[str]:
    """Return what the policies of a system need; those that look ahead read predictions."""
    found: set[str] = set()
    for axis, spec in load_system(system, "list systems").policies.items():
        if axis.removeprefix("cpu_") in AXES:
            policy = create(axis.removeprefix("cpu_"), spec)
            found |= policy.needs
            try:
                policy.check(BARE)
            except InputError:
                found.add("predictions")
    return found - {"future"}


def test_the_table_says_what_each_system_needs() -> None:
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \|$", GUIDE, re.MULTILINE))
    assert set(rows) == set(system_names())
    for system, said in rows.items():
        assert {word for word in WORDS if f"`{word}`" in said} == needs(system), system
