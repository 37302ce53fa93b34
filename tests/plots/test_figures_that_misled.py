"""Figures that said the opposite of what their tables say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulator.analysis.groups import group
from simulator.analysis.sizes import ALL
from simulator.errors import InputError
from simulator.plots import registry, tokens_per_second
from simulator.plots.scales import comparable
from simulator.plots.style import line, paper
from simulator.runs.experiment import run_experiment
from tests.failing import copied

GIB = 2**30


def summary(**columns: list[object]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    base: dict[str, list[object]] = {"run": list(range(n)), "system": ["lru"] * n, "model": ["m"] * n,
        "hardware": ["h"] * n, "trace": ["t"] * n, "tokens_per_second": [1.0] * n}  # fmt: skip
    return pd.DataFrame(base | columns)


def test_all_in_dram_is_the_largest_cache() -> None:
    runs = summary(
        gpu_expert_cache_bytes=[float(GIB)] * 3,
        cpu_expert_cache_bytes=[np.nan, 2.0 * GIB, 8.0 * GIB],
        tokens_per_second=[9.0, 1.0, 2.0],
    )
    groups = group(runs)
    assert groups.axis is not None
    assert [groups.axis.text(size) for size in groups.sizes] == ["2", "8", ALL]
    with paper():
        figure, data = tokens_per_second.plot(runs)
    assert list(data["cpu_expert_cache_gib"]) == ["2", "8", ALL]
    assert list(data["tokens_per_second"]) == [1.0, 2.0, 9.0]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["2", "8", ALL]


@pytest.mark.parametrize(("fast", "same"), [(3.0, True), (40.0, False)])
def test_panels_share_a_scale_or_say_that_they_do_not(fast: float, same: bool) -> None:
    runs = summary(
        hardware=["a", "a", "b", "b"], gpu_expert_cache_bytes=[1.0 * GIB, 2.0 * GIB] * 2,
        tokens_per_second=[1.0, 2.0, fast, 2 * fast],
    )  # fmt: skip
    with paper():
        figure, _ = tokens_per_second.plot(runs)
    limits = {axes.get_ylim() for axes in figure.axes}
    assert (len(limits) == 1) is same
    assert all(("own scale" in axes.get_ylabel()) is not same for axes in figure.axes)
    assert comparable([1.0, fast]) is same


def test_a_series_has_no_hollow_markers() -> None:
    assert all("markerfacecolor" not in line(index) for index in range(20))


def test_a_key_that_others_sweep_is_what_the_system_itself_has(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(
        "name: e\nmodel: olmoe-1b-7b\nhardware: rtx3060-12gb-pcie4\ntrace: olmoe-mini\n"
        "workload: {max_sequences: 1, max_decode_tokens: 4}\nmemory: {gpu_expert_cache: {fraction: 0.25}}\n"
        "sweep: {grids: [{system: [hobbit]}, {policies.prefetch: [none, previous-token]}]}\n"
    )
    run_experiment(str(tmp_path / "e.yaml"), [], tmp_path / "out")
    runs = pd.read_csv(tmp_path / "out" / "summary.csv", keep_default_na=False)
    assert list(runs["policies.prefetch"]) == ["gate-lookahead", "none", "previous-token"]


def test_a_figure_without_data_in_a_panel_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Input 02: one trace of two decodes nothing; the sweep's tables and the other panel are there."""
    folder = copied("02", tmp_path)
    monkeypatch.chdir(folder)
    done = run_experiment("e.yaml", [], folder / "out")
    assert not done.failures
    assert (folder / "out" / "summary.csv").exists()
    assert (folder / "out" / "figures" / "latency-cdf.png").exists()


def test_a_figure_that_fails_loses_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("oops")

    kind = registry.FIGURES["hit-rate"]
    monkeypatch.setitem(registry.FIGURES, "hit-rate", registry.Kind(kind.shows, kind.needs, broken))  # type: ignore[arg-type]
    (tmp_path / "e.yaml").write_text(
        "name: e\nmodel: olmoe-1b-7b\nhardware: rtx3060-12gb-pcie4\ntrace: olmoe-mini\n"
        "workload: {max_sequences: 1, max_decode_tokens: 4}\nmemory: {gpu_expert_cache: {fraction: 0.25}}\n"
        "figures: [hit-rate, tokens-per-second]\n"
    )
    done = run_experiment(str(tmp_path / "e.yaml"), [], tmp_path / "out")
    assert [failure.where for failure in done.failures] == ["figure hit-rate"]
    assert "a fault of moesim" in done.failures[0].cause
    assert (tmp_path / "out" / "summary.csv").exists()
    assert (tmp_path / "out" / "figures" / "tokens-per-second.png").exists()
    with pytest.raises((KeyError, InputError)):
        registry.draw(["hit-rate"], tmp_path / "out")
