"""The guides of docs/adding work as they are written: files, rows of registries, commands, what these print.

A page is played from top to bottom in a copy of a checkout. Where a line ends with a file name and a colon,
the block below is that file, or (``diff``) a change to it. ``sh`` blocks are run. A ``text`` block below one
is what it prints, in which ``...`` stands for anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.places import ROOT

PAGES = sorted((ROOT / "docs" / "adding").glob("*.md"))
BLOCK = re.compile(r"(?:`([\w./-]+\.\w+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FAILS = re.compile(r"^(moesim: |[\w.]+Error: )")
PATH = re.compile(r"`((?:docs|hardware_profiles|models|policies|simulator|tests)/[\w./-]*)`")
MOESIM = '#!/bin/sh\nexec "{python}" -c "from simulator.cli import main; main()" "$@"\n'
PYTHON = '#!/bin/sh\nexec "{python}" "$@"\n'


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the file that it is or changes ("": none), its language, its text."""

    file: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of what of a checkout the guides use; data that no guide adds to is linked."""
    for name in (
        "simulator",
        "policies",
        "hardware_parts",
        "hardware_profiles",
        "software_profiles",
        "models",
        "tests/policies",
    ):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("traces", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name, target_is_directory=True)
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in (("moesim", MOESIM), ("python", PYTHON)):
        (programs / name).write_text(script.format(python=sys.executable))
        (programs / name).chmod(0o755)
    return tmp_path


def changed(text: str, diff: str) -> str:
    """Return a text with the lines of a diff that start with + put in, where the others are found once."""
    lines = [line for line in diff.splitlines() if line]
    assert {line[0] for line in lines} == {" ", "+"}, diff
    before = "".join(f"{line[1:]}\n" for line in lines if line[0] == " ")
    assert text.count(before) == 1, f"the page's lines are not in the file once:\n{before}"
    return text.replace(before, "".join(f"{line[1:]}\n" for line in lines))


def run(commands: str, cwd: Path) -> tuple[int, str]:
    path = f"{cwd / 'programs'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607 - as a reader has it
        cwd=cwd,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def appears(promised: str, printed: str) -> bool:
    """Return whether a promise is in what was printed: all of it, in order, however lines are broken."""
    parts = [" ".join(part.split()) for part in promised.split("...")]
    return re.search(".*".join(map(re.escape, parts)), " ".join(printed.split())) is not None


def play(page: Path, checkout: Path) -> list[Block]:
    """Do what a page says, in order; return the blocks that were done."""
    found = blocks(page)
    for i, block in enumerate(found):
        file = checkout / block.file
        after = found[i + 1] if i + 1 < len(found) else Block("", "", "")
        if block.language == "diff":
            file.write_text(changed(file.read_text(encoding="utf-8"), block.text), encoding="utf-8")
        elif block.file:
            assert not file.exists(), block.file
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            promised = after.text if (after.file, after.language) == ("", "text") else ""
            status, printed = run(block.text, checkout)
            assert (status != 0) == bool(FAILS.match(promised)), printed
            assert appears(promised, printed), f"promised:\n{promised}\nprinted:\n{printed}"
        else:
            assert block.language == "text", (
                f"{page.name}: a block that is no file and no command:\n{block.text}"
            )
            assert found[i - 1].language == "sh", f"{page.name}: nothing prints this:\n{block.text}"
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_newcomer_gets_there_by_the_page_alone(page: Path, checkout: Path) -> None:
    done = play(page, checkout)
    assert any(block.language == "sh" for block in done)
    house = {block.file for block in done if "/" in block.file}
    copied = re.findall(r"^cp \S+ (\S+/\S+)$", "".join(block.text for block in done), re.MULTILINE)
    assert 1 <= len(house | {*copied}) <= 2, "the file and a row of a registry are enough"
    named = {*PATH.findall(page.read_text(encoding="utf-8"))}
    assert [path for path in named if not (checkout / path).exists() and not (ROOT / path).exists()] == []


def test_there_is_a_guide_for_each_thing_to_add() -> None:
    names = [page.stem for page in PAGES]
    assert names == ["hardware-profile", "model", "policy", "prefetcher", "trace-reader"]


def test_a_policy_and_a_prefetcher_are_checked_and_a_trace_is_validated() -> None:
    for name, says in (
        ("policy", "check_policy(MRU)"),
        ("prefetcher", "check_policy(SameNumbers"),
        ("trace-reader", "trace validate"),
    ):
        commands = [
            block.text for block in blocks(ROOT / "docs" / "adding" / f"{name}.md") if block.language == "sh"
        ]
        assert any(says in text for text in commands)


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ("`a.txt`:\n\n```text\nx\n```\n\n```sh\ncat a.txt\n```\n\n```text\ny\n```\n", "promised"),
        ("```sh\nfalse\n```\n", "assert"),
        ("```sh\ntrue\n```\n\n```text\nmoesim: no\n```\n", "assert"),
        ("```text\nx\n```\n", "nothing prints this"),
        ("```python\nx\n```\n", "no file and no command"),
        ("`pyproject.toml`:\n\n```diff\n no such line\n+x\n```\n", "not in the file once"),
    ],
)
def test_a_page_that_is_wrong_fails(page: str, fault: str, checkout: Path) -> None:
    (checkout / "page.md").write_text(page)
    with pytest.raises(AssertionError, match=fault):
        play(checkout / "page.md", checkout)
