"""The guide to formats: its table names every format, its examples give what they show."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.trace.importers.registry import IMPORTERS, import_trace
from simulator.trace.parquet import read_trace
from tests.places import ROOT
from tests.trace.importers.every_format import FILES
from tests.trace.importers.trace_files import TOKENS, experts_of, write

FORMATS = (ROOT / "docs" / "guides" / "formats.md").read_text(encoding="utf-8")
TRACES = (ROOT / "docs" / "guides" / "traces.md").read_text(encoding="utf-8")


def block(language: str, section: str, page: str = FORMATS) -> str:
    """Return the first block of code in this language of a section."""
    return page.split(f"\n## {section}\n")[1].split(f"```{language}\n")[1].split("```", maxsplit=1)[0]


def test_the_guide_names_every_format() -> None:
    for name in IMPORTERS:
        assert f"`{name}`" in FORMATS.split("\n## ")[0], name


@pytest.mark.parametrize("kind", ["jsonl", "csv", "npz and npy"])
def test_the_commands_of_the_guide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "jsonl":
        write(tmp_path / "routing.jsonl", block("json", kind))
    elif kind == "csv":
        write(tmp_path / "routing.csv", block("csv", kind))
    else:
        subprocess.run([sys.executable, "-c", block("python", kind)], check=True, cwd=tmp_path)
    words = block("sh", kind).split()
    monkeypatch.setattr(sys, "argv", words)
    with contextlib.suppress(SystemExit):
        main()
    assert "2 tokens" in capsys.readouterr().out
    assert read_trace(tmp_path / words[-1]).experts[:, 0].tolist() == [[3, 0], [3, 2]]


def test_the_guide_cuts_a_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, options = FILES["flame-moe"](tmp_path)
    path.rename(path.with_name("iter_5473"))
    monkeypatch.chdir(tmp_path)
    code = block("python", "Entries that are fetched by hand", TRACES).replace("100_000", "4")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    trace = import_trace("cut/flame-moe-290m/actives/iter_5473", None, options)
    assert trace.experts.tolist() == experts_of(TOKENS[:4])
