"""Every command on every page runs, or the page says why it is not run here.

README.md has tests/test_readme.py, docs/adding has tests/test_guides_to_add.py. On all other pages a fenced
block of ``sh`` or ``python`` is run, in the order of the page, in a folder that looks like a checkout. A
comment on the line before a block changes that: ``<!-- not run: REASON -->`` with one of ``REASONS``, or
``<!-- file: NAME -->``, which makes the block the contents of a file.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner

from simulator.calibrate.profile import profile
from simulator.calibrate.write import write_profile
from simulator.cli import app
from tests.calibrate.made_up import made_up
from tests.places import ROOT
from tests.trace.importers.trace_files import FILES

# Pages with tests of their own, the targets of make, and commands of former versions.
ELSEWHERE = ("README.md", "CONTRIBUTING.md", "docs/adding/", "CHANGELOG.md")
FOLDERS = ("docs", "benchmarks", "traces", "models", "hardware_profiles", "experiments", "policies", "tests")
FILES_OF_PAGES = [*ROOT.glob("*.md"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*.md"))]
PAGES = [
    page
    for page in sorted(path.relative_to(ROOT).as_posix() for path in FILES_OF_PAGES)
    if not page.startswith(ELSEWHERE)
]
BLOCK = re.compile(r"(?:^<!-- ([a-z ]+): ([^\n]+) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^(?: {4}|\t)\s*\S.*", re.MULTILINE)
INLINE = re.compile(r"`(moesim [^`]+)`")
PROGRAM = re.compile(
    r"^\s*(?:\$ )?(?:moesim|make|pip|python3?|hf|vllm|curl|dask|srun|docker|export|git)\s", re.MULTILINE
)
RUN = ("sh", "python")
REASONS = (
    "needs a GPU",
    "needs the network",
    "needs PyTorch",
    "needs another program",
    "needs a cluster",
    "needs recordings that are not shipped",
    "measures this machine",
    "takes hours",
)
SHORTER = {  # a page shows the command as a reader types it; here the same does less
    "run": "--set workload.max_sequences=1 --set workload.max_decode_tokens=4 --set figures=[] --jobs 1",
    "timeline": "--set workload.max_sequences=1 --set workload.max_decode_tokens=30",
    "curve": "--policies lru,fifo --capacities 10%,25%",
    "explain": "--set workload.max_sequences=1 --set workload.max_decode_tokens=4",
    "tune": "--set workload.max_sequences=2 --set workload.max_decode_tokens=2 --set tune.trials=1",
    "plot": "--format png --figure hit-rate",
    "trace synth": "--sequences 2 --prefill 4 --decode 4",
}


class Block(NamedTuple):
    """A fenced block: what the comment before it says, its language, its text."""

    mark: str
    value: str
    language: str
    text: str


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(text)]


def commands(block: str) -> list[str]:
    """Return the lines of a block of ``sh``: continued ones joined, comments left out."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


def faults(text: str) -> Iterator[str]:
    """Yield what is on a page and neither run nor marked with a reason."""
    for block in blocks(text):
        if block.mark not in {"", "file", "not run"}:
            yield f"mark {block.mark!r}"
        if block.mark == "not run" and block.value not in REASONS:
            yield f"reason {block.value!r}"
        if not block.language:
            yield f"no language: {block.text.splitlines()[0]}"
        if not block.mark and block.language not in RUN:
            yield from (
                f"command in {block.language}: {found.strip()}" for found in PROGRAM.findall(block.text)
            )
        if not block.mark and block.language == "sh":
            yield from (
                f"not moesim: {line}" for line in commands(block.text) if not line.startswith("moesim ")
            )
    rest = BLOCK.sub("", text)
    yield from (f"indented: {line.strip()}" for line in INDENTED.findall(rest) if PROGRAM.match(line))
    yield from (f"fence: {line}" for line in re.findall(r"^\s*(?:```|~~~).*", rest, re.MULTILINE))


def moesim_lines(text: str) -> list[str]:
    """Return the moesim commands of a page that are not run: marked ones, and those within its sentences."""
    marked = [b for b in blocks(text) if b.mark == "not run" and b.language == "sh"]
    lines = [line for block in marked for line in re.sub(r"\\\n\s*", "", block.text).splitlines()]
    return [line for line in lines if line.startswith("moesim ")] + INLINE.findall(BLOCK.sub("", text))


def leaves(command: Any, words: list[str]) -> Iterator[Any]:
    """Yield the commands that words name; ``a|b`` names two."""
    names = words[0].split("|") if words and hasattr(command, "commands") else []
    if not names or names[0].startswith("-"):
        yield command
        return
    for name in names:
        yield from leaves(command.commands[name], words[1:])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bit of the bundled trace."""
    out = tmp_path_factory.mktemp("traces") / "olmoe-mini.parquet"
    line = ["slice", str(ROOT / "traces" / "olmoe-mini.parquet"), "-o", str(out), "--sequences", "0:2"]
    CliRunner().invoke(app, ["trace", *line, "--tokens", "0:64"], catch_exceptions=False)
    return out


@pytest.fixture
def checkout(tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that looks like a checkout, with what pages suppose is there, and go there."""
    (tmp_path / "experiments").symlink_to(ROOT / "experiments", target_is_directory=True)
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / small.name).symlink_to(small)
    write_profile(profile(made_up(), "my-machine"), tmp_path / "my-machine.yaml")
    folder, _ = FILES["flame-moe"](tmp_path)
    folder.rename(folder.with_name("iter_5473"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def play(line: str) -> None:
    """Run a line of moesim, shortened."""
    words = shlex.split(line)[1:]
    if words[0] == "tune":
        pytest.importorskip("optuna")
    said = f"{shlex.join(words)} "
    shorter = next((more for name, more in SHORTER.items() if said.startswith(f"{name} ")), "")
    words += shlex.split(shorter)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, f"{line}\n{done.output}{done.exception}"


def test_there_are_pages() -> None:
    assert {"docs/timing.md", "docs/guides/traces.md", "benchmarks/README.md", "traces/README.md"} <= set(
        PAGES
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_run_or_says_why_not(page: str) -> None:
    assert list(faults(text_of(page))) == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.language in RUN for b in blocks(text_of(page)))]
)
def test_commands_run(page: str, checkout: Path) -> None:
    for block in blocks(text_of(page)):
        if block.mark == "file":
            (checkout / block.value).write_text(block.text, encoding="utf-8")
    for block in blocks(text_of(page)):
        if block.mark or block.language not in RUN:
            continue
        if block.language == "python":
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            subprocess.run([sys.executable, "-c", block.text], cwd=checkout, env=environment, check=True)
            continue
        for line in commands(block.text):
            play(line)


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_not_run_exist_with_their_options(page: str) -> None:
    for line in moesim_lines(text_of(page)):
        words = re.sub(r"[\[\]]", " ", line).split()[1:]
        known = [
            {name for parameter in leaf.params for name in (*parameter.opts, *parameter.secondary_opts)}
            for leaf in leaves(typer.main.get_command(app), words)
        ]
        asked = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert all(asked <= names for names in known), line


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("    moesim run a.yaml\n", "indented: moesim run a.yaml"),
        ("```\nmoesim run a.yaml\n```\n", "no language: moesim run a.yaml"),
        ("```text\nmoesim run a.yaml\n```\n", "command in text: moesim"),
        ("```sh\nmake all\n```\n", "not moesim: make all"),
        ("<!-- not run: too lazy -->\n```sh\nmake all\n```\n", "reason 'too lazy'"),
        ("<!-- no run: needs a GPU -->\n```sh\nmoesim run a\n```\n", "mark 'no run'"),
        ("  ```sh\n  moesim run a\n  ```\n", "fence: ```sh"),
    ],
)
def test_what_is_neither_run_nor_marked_is_found(text: str, fault: str) -> None:
    assert fault in [re.sub(r"fence:\s+", "fence: ", found) for found in faults(text)]


def test_unknown_commands_and_options_are_found() -> None:
    with pytest.raises(KeyError, match="imprt"):
        list(leaves(typer.main.get_command(app), ["trace", "imprt"]))
    (leaf,) = leaves(typer.main.get_command(app), ["plot", "DIR"])
    assert "--stile" not in {name for parameter in leaf.params for name in parameter.opts}
