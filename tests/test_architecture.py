"""The page on architecture is true: paths exist, rooms are all there, arrows follow the imports."""

from __future__ import annotations

import ast
import re
import tomllib
from itertools import pairwise

import pytest

from tests.places import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DIAGRAM = re.findall(r"^```mermaid\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
NAME = re.compile(r"\w+")
PATH = re.compile(r"[\w.-]+(/[\w.-]*)+|[\w-]+\.(py|toml|md|cfg)")
ARROW = re.compile(r"\s*(-->|-\. [\w ]+ \.->)\s*")
STEP = re.compile(r"`(\w+)(?:\.(\w+))?`(?: and `(\w+)`)? ?(?:in |\()`(\S+\.py)`")


def rooms() -> set[str]:
    """Return what the tree has: packages and modules of simulator, and policies."""
    inside = (ROOT / "simulator").iterdir()
    packages = {path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").is_file()}
    return packages - {"__init__"} | {"policies"}


def arrows(text: str) -> list[tuple[str, str, bool]]:
    """Return the diagram's arrows: (from, to, whether it stands for an import)."""
    found = []
    for line in text.splitlines():
        names, signs = ARROW.split(line.strip())[::2], ARROW.split(line.strip())[1::2]
        found += [(a, b, sign == "-->") for (a, b), sign in zip(pairwise(names), signs, strict=True)]
    return found


ARROWS = arrows(DIAGRAM)


def depth() -> dict[str, int]:
    """Return how far down each room is: the longest list of layers, its lowest layer 0."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    every = (one.get("layers", []) for one in contracts["contracts"] if "containers" not in one)
    layers = max(every, key=len)
    return {
        room.strip().removeprefix("simulator."): place
        for place, layer in enumerate(reversed(layers))
        for room in layer.split(":")
    }


def imports() -> set[tuple[str, str]]:
    """Return (imported, importer) for each import of one room by another."""
    found = set()
    for top in ("simulator", "policies"):
        for path in (ROOT / top).rglob("*.py"):
            where = path.relative_to(ROOT).with_suffix("").parts
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = []
                if isinstance(node, ast.ImportFrom):
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                elif isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                found |= {(room_of(name.split(".")), room_of(where)) for name in names}
    return {(a, b) for a, b in found if a != b and {a, b} <= rooms()}


def room_of(parts: tuple[str, ...] | list[str]) -> str:
    return parts[0] if parts[0] != "simulator" or len(parts) == 1 else parts[1]


def test_every_path_exists() -> None:
    paths = [code for code in re.findall(r"`([^`\n]+)`", PAGE) if PATH.fullmatch(code)]
    assert {"simulator/engine/", "CHANGELOG.md", "policies/registry.py"} <= {*paths}
    assert [path for path in paths if path != "summary.csv" and not (ROOT / path).exists()] == []


def test_what_a_step_names_is_in_its_file() -> None:
    steps = STEP.findall(PAGE)
    assert len(steps) > 15
    for outer, inner, also, path in steps:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        defined = {
            name.id if isinstance(name, ast.Name) else name.name
            for node in ast.walk(tree)
            for name in (node.targets if isinstance(node, ast.Assign) else [node])
            if isinstance(name, ast.Name | ast.ClassDef | ast.FunctionDef)
        }
        assert {outer, inner, also} - {""} <= defined, path


@pytest.mark.parametrize("room", sorted(rooms()))
def test_every_room_is_in_the_diagram_and_in_the_table(room: str) -> None:
    assert room in NAME.findall(re.sub(r"subgraph .*", "", DIAGRAM))
    place = "policies/" if room == "policies" else f"simulator/{room}"
    assert len(re.findall(rf"^\| `{place}(?:/|\.py|)` \| [A-Z].*\. \|$", PAGE, re.MULTILINE)) == 1


def test_no_arrow_leads_up() -> None:
    places = depth()
    assert {name for arrow in ARROWS for name in arrow[:2]} <= {*places} == rooms()
    assert [(a, b) for a, b, _ in ARROWS if places[a] > places[b]] == []
    assert arrows("    cli --> text") == [("cli", "text", True)]
    assert places["cli"] > places["engine"] > places["policies"] > places["text"] == 0


def test_arrows_are_imports_and_lead_along_all_of_them() -> None:
    real = imports()
    assert [(a, b) for a, b, imported in ARROWS if ((a, b) in real) != imported] == []
    reached = {(a, b) for a, b, imported in ARROWS if imported}
    while more := {(a, d) for a, b in reached for c, d in reached if b == c} - reached:
        reached |= more
    places = depth()
    assert {(a, b) for a, b in real - reached if places[a] != places[b]} == set()
