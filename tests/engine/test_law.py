"""docs/timing.md names the function of each rule, and each function names its section."""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module

import pytest

from tests.places import ROOT

PAGE = (ROOT / "docs/timing.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## 13. In the code")[2]
ROWS = re.findall(r"^\| §(\d+)\S* .*? \| (.*) \|$", TABLE, re.MULTILINE)
NAMED = [(section, name) for section, cell in ROWS for name in re.findall(r"`([\w.]+)`", cell)]


def test_every_section_with_rules_is_in_the_table() -> None:
    sections = re.findall(r"^## (\d+)\.", PAGE, re.MULTILINE)
    assert [int(section) for section in dict.fromkeys(section for section, _ in ROWS)] == list(range(1, 12))
    assert sections[-2:] == ["12", "13"]


@pytest.mark.parametrize(("section", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_function_names_its_section(section: str, name: str) -> None:
    module, *path = name.split(".")
    page = import_module(f"simulator.engine.processes.{module}")
    function = reduce(getattr, path, page)
    told = f"{function.__doc__} {page.__doc__ if module == 'host' else ''}"
    assert re.search(rf"§{section}\b", told), f"{name} does not name §{section}"
