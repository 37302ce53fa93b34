"""No command replaces a file without --force, and none a source or a folder with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simulator import data
from tests.command_line import moesim, refused

SYNTH = ["trace", "synth", "--layers", "2", "--experts", "4", "--top-k", "1", "--sequences", "1"]
COMMANDS = {
    "import": ["trace", "import", "olmo.csv", "--format", "csv", "--n-experts", "8", "--phase", "decode"],
    "synth": [*SYNTH, "--prefill", "1", "--decode", "1"],
    "slice": ["trace", "slice", "a.parquet", "--sequences", "0"],
    "merge": ["trace", "merge", "a.parquet", "b.parquet"],
    "anonymise": ["trace", "anonymise", "a.parquet"],
    "timeline": ["timeline", "quickstart", "--run", "0", "--tokens", "-2:"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = data.folder("traces") / "olmoe-mini.parquet"
    done = moesim(
        tmp_path, "trace", "slice", str(source), "--sequences", "0", "--tokens", "0:4", "-o", "a.parquet"
    )
    assert done.returncode == 0, done.stderr
    shutil.copyfile(tmp_path / "a.parquet", tmp_path / "b.parquet")
    (tmp_path / "olmo.csv").write_text("sequence,position,layer,slot,expert,weight\n0,0,0,0,1,0.6\n")
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
def test_what_is_there_is_replaced_with_force_only(folder: Path, words: list[str]) -> None:
    out = folder / "out.parquet"
    out.write_text("mine")
    line = refused(folder, *words, "-o", "out.parquet")
    assert line == "moesim: out.parquet: is there already; name another file, or replace it with --force"
    assert out.read_text() == "mine"
    done = moesim(folder, *words, "-o", "out.parquet", "--force")
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() != b"mine"
    (folder / "some").mkdir()
    assert "some: is a folder; name a file with --out" in refused(folder, *words, "-o", "some", "--force")


def test_a_calibration_and_a_comparison_keep_the_rule(folder: Path) -> None:
    (folder / "mine.yaml").write_text("mine")
    for words in (["calibrate", "--quick"], ["compare", "results"]):
        assert "mine.yaml: is there already" in refused(folder, *words, "-o", "mine.yaml")
    (folder / "link.yaml").symlink_to("nowhere.yaml")
    assert "link.yaml: is there already" in refused(folder, "calibrate", "-o", "link.yaml")


@pytest.mark.parametrize("words", [COMMANDS["slice"], COMMANDS["merge"], ["trace", "import", "a.parquet"]])
def test_a_source_is_never_written_over(folder: Path, words: list[str]) -> None:
    before = (folder / "a.parquet").read_bytes()
    (folder / "again.parquet").symlink_to("a.parquet")
    for out in ("a.parquet", "again.parquet"):
        line = refused(folder, *words, "-o", out, "--force")
        assert f"{out}: is what is read; name another file" in line
    assert (folder / "a.parquet").read_bytes() == before


def test_what_a_fit_writes_beside_its_trace_is_kept_too(folder: Path) -> None:
    for name in ("s.fit.csv", "s.params.yaml"):
        (folder / name).write_text("mine")
        line = refused(folder, "trace", "synth", "--like", "a.parquet", "-o", "s.parquet")
        assert f"{name}: is there already" in line
        (folder / name).unlink()
