"""Results folders and traces that mean harm: nothing hangs, leads out, or speaks to the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from simulator.plots import FIGURES, lacking
from simulator.runs.experiment import run_experiment
from simulator.text import csv_cell, printable
from simulator.trace.parquet import read_trace, write_trace
from tests.command_line import moesim, refused
from tests.failing import copied
from tests.places import ROOT

EXPERIMENT: dict[str, Any] = {
    "name": "e", "model": "olmoe-1b-7b", "hardware": "rtx3060-12gb-pcie4", "trace": "olmoe-mini",
    "workload": {"max_sequences": 1, "max_decode_tokens": 8},
    "memory": {"gpu_expert_cache": {"fraction": 0.25}},
    "sweep": {"grid": {"system": ["lru-on-demand", "hobbit"]}},
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    (folder / "e.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    run_experiment(str(folder / "e.yaml"), [], folder / "out")
    return folder / "out"


@pytest.fixture
def results(good: Path, tmp_path: Path) -> Path:
    """Return results of our own, to be spoilt."""
    folder = tmp_path / "r"
    folder.mkdir()
    for path in good.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_aliases_count_each_time(results: Path) -> None:
    """Input 09: 900 bytes that stand for 2^25 values."""
    config = results / "config.resolved.yaml"
    bomb = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}\n" for i in range(1, 26))
    first, mark, rest = config.read_text().partition("--- # run 1")
    config.write_text(first + bomb + mark + rest)
    assert "a run has more than 100,000 values; aliases count each time" in refused(results, "report", ".")


def test_a_figures_folder_that_leads_elsewhere_is_refused(results: Path, tmp_path: Path) -> None:
    """Input 10."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "hit-rate.csv").write_text("mine")
    (results / "figures").symlink_to(victim)
    assert "is a symbolic link, and leads elsewhere" in refused(results, "plot", ".", "--figure", "hit-rate")
    assert [path.read_text() for path in victim.iterdir()] == ["mine"]


def test_nothing_speaks_to_the_terminal(tmp_path: Path) -> None:
    """Input 11, and its like: names and notes of traces, unknown keys, names on the command line."""
    folder = copied("11", tmp_path)
    for words in (("trace", "info", "esc.parquet"), ("trace", "info", "esc2.parquet"), ("plot", "\x1b[31m")):
        done = moesim(folder, *words)
        assert "\x1b" not in done.stdout + done.stderr
        assert "\\x1b" in done.stdout + done.stderr


def test_control_characters_are_written_as_escapes() -> None:
    assert printable("a\x1b[31mb\x9b\u202e c\td\n") == "a\\x1b[31mb\\x9b\\u202e c\td\n"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("x")', '\'=HYPERLINK("x")'), ("+1+1", "'+1+1"), ("-cmd", "'-cmd"), ("@SUM", "'@SUM"),
        ("\tx", "'\tx"), ("-1.5", "-1.5"), ("+2e3", "+2e3"), ("lru", "lru"), ("", ""),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    assert csv_cell(text) == cell


def test_a_model_that_is_called_a_formula(tmp_path: Path) -> None:
    """Input 15: in the summary, and in what compare writes of it."""
    folder = copied("15", tmp_path)
    assert moesim(folder, "run", "csv.yaml", "--out", "out").returncode == 0
    for text in (
        (folder / "out" / "summary.csv").read_text(),
        moesim(folder, "compare", "out", "--format", "csv").stdout,
    ):
        assert "HYPERLINK" not in text or "'=HYPERLINK" in text


def test_tables_that_make_no_sense_are_refused(results: Path) -> None:
    """Input 16: text for numbers, times below 0, more layers than rows, more rows than fit a memory."""
    path = results / "tokens.parquet"
    table = parquet.read_table(path)
    at = table.schema.get_field_index("latency_ns")
    words = ("plot", ".", "--figure", "latency-cdf")
    for column in (pa.array(["x"] * len(table)), pa.array([-5] * len(table), pa.int64())):
        parquet.write_table(table.set_column(at, "latency_ns", column), path)
        assert "column 'latency_ns' holds more than numbers from 0 on" in refused(results, *words)
    one = table.slice(0, 1)
    many = pa.table(
        {name: pa.array([0], pa.int64()).take(pa.array([0] * 1_000_000)) for name in table.column_names}
    )
    with parquet.ParquetWriter(path, many.schema, compression="zstd") as writer:
        for _ in range(40):
            writer.write_table(many)
    assert path.stat().st_size < 10_000_000
    assert "has 40,000,000 rows" in refused(results, *words)
    parquet.write_table(one, path)
    huge = {name: pa.array([2**31 - 1 if name in {"layer", "expert"} else 0]) for name in
            parquet.read_schema(results / "experts.parquet").names}  # fmt: skip
    parquet.write_table(pa.table(huge), results / "experts.parquet")
    assert "more layers or experts than it has rows" in refused(results, "plot", ".", "--figure", "residency")


def test_a_report_is_small_and_whole(good: Path) -> None:
    """Pictures in 256 colours, large CSVs compressed: 11 figures, each with its data."""
    page = moesim(good.parent, "report", "out", "--out", "r.html")
    assert page.returncode == 0, page.stderr
    text = (good.parent / "r.html").read_text()
    assert len(text) < 1_500_000
    drawn = [name for name in FIGURES if f'download="{name}.csv' in text]
    assert len(drawn) >= 10
    assert 'download="residency.csv.gz"' in text


def test_letters_that_no_font_has_are_told(results: Path) -> None:
    """Input f08: once, whatever the number of figures."""
    summary = results / "summary.csv"
    summary.write_text(summary.read_text().replace("olmoe-1b-7b", "\U00016a40\u6a21"), encoding="utf-8")
    assert "\U00016a40" in lacking(results)
    done = moesim(results, "plot", ".", "--format", "png")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no font here has these letters") == 1


def test_header_texts_are_escaped_where_they_are_read(tmp_path: Path) -> None:
    trace = read_trace(ROOT / "traces" / "olmoe-mini.parquet")
    header = trace.header.model_copy(update={"notes": "a\x1b[2Jb"})
    from dataclasses import replace

    write_trace(replace(trace, header=header), tmp_path / "t.parquet")
    assert read_trace(tmp_path / "t.parquet").header.notes == "a\\x1b[2Jb"
