"""Runs whose times or bytes do not fit 64 bits are refused before they are played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from simulator.assemble.limits import MOST
from simulator.config.units import format_apart
from simulator.engine.demand import Pass, PassCosts, Record
from simulator.errors import InputError
from simulator.results.collect import Collector
from simulator.trace.parquet import read_trace, write_trace
from tests.command_line import moesim, refused
from tests.failing import copied
from tests.places import ROOT, WHOLE_PROFILE

EXPERIMENT = """\
name: e
model: trace
hardware: rtx4090-pcie4
trace: ./t.parquet
workload: {max_sequences: 1}
memory: {gpu_expert_cache: {experts_per_layer: 8}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a trace of 16 layers that knows its sizes: 1 MB an expert."""
    trace = read_trace(ROOT / "traces" / "olmoe-mini.parquet")
    sizes = {"expert_bytes": (10**6,) * 16, "dense_bytes": (10**6,) * 16}
    write_trace(replace(trace, header=trace.header.model_copy(update=sizes)), tmp_path / "t.parquet")
    (tmp_path / "e.yaml").write_text(EXPERIMENT)
    return tmp_path


def profile(folder: Path, old: str, new: str) -> str:
    """Write a profile that differs from rtx4090-pcie4 in one number; return the setting that names it."""
    text = WHOLE_PROFILE.read_text()
    assert text.count(old) == 1, old
    (folder / "h.yaml").write_text(text.replace(old, new))
    return "hardware=./h.yaml"


def link_of(rate: str) -> tuple[str, str]:
    """Return the line of the link to the GPU in the profile, and what to put there."""
    text = WHOLE_PROFILE.read_text()
    after = text.index("cpu_to_gpu:")
    start = text.index("value: ", after)
    end = text.index(",", start)
    line = text[after:end]
    return line, line[: line.index("value: ")] + f"value: {rate}"


def test_a_link_that_takes_centuries_is_refused_and_named(folder: Path) -> None:
    """1 MB at 1 B/s is 11.6 days: 9,300 lookups are 295 years, and a sequence asks for more."""
    line = refused(folder, "run", "e.yaml", "--set", profile(folder, *link_of("1 B/s")), "--out", "o")
    assert "results hold 292 (2**63 ns)" in line
    assert "for link cpu_to_gpu" in line
    line = refused(
        folder, "timeline", "e.yaml", "--set", profile(folder, *link_of("1 B/s")), "--out", "t.json"
    )
    assert "for link cpu_to_gpu" in line


def test_a_link_that_takes_years_is_not(folder: Path) -> None:
    few = "workload={max_sequences: 1, max_decode_tokens: 2}"
    slow = profile(folder, *link_of("1 kB/s"))
    assert moesim(folder, "run", "e.yaml", "--set", slow, "--set", few, "--out", "o").returncode == 0


def test_the_failing_input_is_refused_beforehand(tmp_path: Path) -> None:
    folder = copied("14", tmp_path)
    assert "results hold 292 (2**63 ns)" in refused(folder, "run", "b10.yaml", "--out", "o")


def test_what_no_bound_foresees_is_still_one_line() -> None:
    costs = PassCosts(0, 0, [0], [0], [0])
    p = Pass(3, True, costs, [[0]], shares=[(0, 0, 1, True)])
    collector = Collector(())
    collector.keep(p, Record(0, MOST))
    with pytest.raises(InputError, match="pass 3: the run takes more than 292 years"):
        collector.keep(p, Record(0, MOST + 1))


def test_sizes_that_differ_look_different() -> None:
    assert format_apart(98303, 98304) == ["98303 B", "98304 B"]
    assert format_apart(98304, 98304) == ["96.00 KiB", "96.00 KiB"]
    assert format_apart(1 << 20, 1 << 30) == ["1.00 MiB", "1.00 GiB"]
