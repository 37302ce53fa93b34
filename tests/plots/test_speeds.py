"""Figures of speed, hits and parts of latency show what their data say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulator.errors import InputError
from simulator.plots import FIGURES, draw
from tests.plots.speeds import GIB, LONG, OWN, STALLS, plotted, results, shown, summary


def test_bars_are_as_high_as_the_csv_says() -> None:
    frame = summary(systems=("lru", "lfu"), sizes_gib=(8, 4))
    figure, data = plotted("tokens-per-second", frame)
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == data["tokens_per_second"].tolist() == [11, 10, 13, 12]
    assert data["gpu_expert_cache_gib"].tolist() == [4, 8, 4, 8]


def test_lines_go_through_what_the_csv_says() -> None:
    frame = summary(systems=("lru", "lfu"), sizes_gib=(4, 8))
    figure, data = plotted("hit-rate", frame)
    drawn = {tuple(line.get_ydata()) for line in figure.axes[0].lines}
    for _, own in data.groupby("system"):
        assert tuple(100 * own["hit_rate"]) in drawn
    assert (90.0, 90.0) in drawn
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["lru", "lfu", "Belady's bound", "one token's experts"]


def test_stacked_labels_add_up_to_the_pass() -> None:
    figure, data = plotted("latency-breakdown", summary(systems=("lru", "lfu")))
    ends = [patch.get_x() + patch.get_width() for patch in figure.axes[0].patches]
    labels = [name for name in data if name.endswith("_ms_per_token")]
    assert "cpu_expert_wait_ms_per_token" not in labels  # took no time anywhere
    assert "stall_ms_per_token" not in labels  # is the sum of those by link
    assert ends[-2:] == pytest.approx(data[labels].sum(axis=1).tolist()) == [25.5, 25.49]


def test_waits_for_the_host_come_last_and_only_where_there_are_any() -> None:
    frame = summary(systems=("lru", "lfu"))
    assert "host_ms_per_token" not in plotted("latency-breakdown", frame)[1]
    figure, data = plotted("latency-breakdown", frame.assign(host_ms_per_token=[0.0, 7.0]))
    assert data["host_ms_per_token"].tolist() == [0.0, 7.0]
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "host"
    assert [bar.get_width() for bar in figure.axes[0].patches[-2:]] == [0.0, 7.0]


def test_runs_in_different_software_are_never_pooled() -> None:
    frame = pd.concat([summary().assign(software=name, run=n) for n, name in enumerate(("ideal", "imp"))])
    figure, data = plotted("latency-breakdown", frame)
    assert "runs_averaged" not in data
    assert [axes.get_title() for axes in figure.axes] == ["software ideal", "software imp"]


def test_a_summary_from_before_there_was_software_is_of_ideal(tmp_path: Path) -> None:
    summary().drop(columns="software").to_csv(tmp_path / "summary.csv", index=False)
    assert set(shown(tmp_path, "tokens-per-second")["software"]) == {"ideal"}


def test_a_summary_without_stalls_by_link_shows_their_sum() -> None:
    figure, data = plotted("latency-breakdown", summary().drop(columns=list(STALLS)))
    assert data["stall_ms_per_token"].tolist() == [20.0]
    assert "stall" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_single_size_shows_hits_late_and_misses_up_to_all_lookups() -> None:
    figure, data = plotted("hit-rate", summary(systems=("lru", "lfu")))
    assert data[["hit_rate", "late_rate", "miss_rate"]].sum(axis=1).tolist() == pytest.approx([1, 1])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["hits", "late", "misses", "Belady's bound"]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (0, []),
        (2, ["Belady's bound, other systems", "Belady's bound, b and d"]),
        (4, ["Belady's bound, range over systems"]),
    ],
)
def test_bounds_that_differ_say_whose_they_are(bounds: int, expected: list[str]) -> None:
    figure, _ = plotted("hit-rate", summary(systems="abcde", sizes_gib=(4, 8), bounds=bounds))
    names = [text.get_text().replace("b, d", "b and d") for text in figure.legends[0].get_texts()]
    assert names[5:] == [*expected, "one token's experts"]


def test_a_bound_that_some_systems_have_not_says_whose_it_is_not() -> None:
    frame = summary(systems="abcd", sizes_gib=(4, 8))
    frame.loc[frame["system"] == "b", "belady_hit_rate"] = np.nan
    figure, _ = plotted("hit-rate", frame)
    assert "Belady's bound (not of b)" in [text.get_text() for text in figure.legends[0].get_texts()]
    at_one_size = frame[frame["gpu_expert_cache_bytes"] == 4 * GIB]
    figure, _ = plotted("hit-rate", at_one_size)
    assert "Belady's bound (not of b)" in [text.get_text() for text in figure.legends[0].get_texts()]
    two = summary(systems="abcde", sizes_gib=(4, 8), bounds=2)
    two.loc[two["system"] == "c", "belady_hit_rate"] = np.nan
    names = [text.get_text() for text in plotted("hit-rate", two)[0].legends[0].get_texts()]
    assert sum("not of c" in name for name in names) == 1
    settings = pd.concat([frame.assign(**{"runtime.x": x}) for x in (1, 2)]).assign(run=range(16))
    names = [text.get_text() for text in plotted("hit-rate", settings)[0].legends[0].get_texts()]
    assert "Belady's bound (not of b)" in names  # and not of each of its settings


@pytest.mark.parametrize(("at_once", "label"), [(1, "ms per decoded token"), (4, "ms per decode step")])
def test_a_step_that_decodes_several_tokens_is_called_a_step(at_once: int, label: str) -> None:
    frame = summary(systems=("lru", "lfu"))
    frame["tokens_per_second"] = 1000 * at_once / (5.5 + frame["stall_ms_per_token"])
    figure, _ = plotted("latency-breakdown", frame)
    assert figure.axes[0].get_xlabel() == label


@pytest.mark.parametrize("sizes", [(4,), (4, 8)])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
@pytest.mark.parametrize("name", ["tokens-per-second", "hit-rate"])
def test_whiskers_say_what_they_are(name: str, sizes: tuple[int, ...], seeds: tuple[int, ...]) -> None:
    figure, _ = plotted(name, summary(systems=("lru", "random"), sizes_gib=sizes, seeds=seeds))
    said = [text for legend in figure.legends if (text := legend.get_title().get_text())]
    has_whiskers = len(seeds) > 1 and (name, sizes) != ("hit-rate", (4,))
    assert said == (["Whiskers: lowest and highest seed."] if has_whiskers else [])


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("sizes", [(4,), (4, 8)])
@pytest.mark.parametrize("empty", ["some", "all"])
def test_empty_cells_are_survived(tmp_path: Path, name: str, sizes: tuple[int, ...], empty: str) -> None:
    frame = summary(systems=("lru", "lfu"), sizes_gib=sizes)
    metrics = [c for c in frame if c.endswith(("_rate", "_per_second", "_per_token"))]
    frame.loc[slice(0, 0) if empty == "some" else slice(None), metrics] = np.nan
    if empty == "all" and FIGURES[name].decoded:
        with pytest.raises(InputError, match="no run has decoded tokens"):
            draw([name], results(tmp_path, frame))
        return
    data = shown(results(tmp_path, frame), name)
    by_token = FIGURES[name].tables == ("tokens",)
    assert data.groupby(["system", *data.filter(regex="_gib$")]).ngroups == len(frame)
    assert data.filter(regex="_rate|_per_|latency|speed_up$").isna().any(axis=None) != by_token


def test_speed_ups_are_over_the_baseline_that_was_asked_for(tmp_path: Path) -> None:
    folder = results(tmp_path, summary(systems=("lru", "lfu"), sizes_gib=(4, 8)))
    first = shown(folder, "speed-up")
    assert first["baseline"].tolist() == ["lru"] * 4
    assert first["speed_up"].tolist()[:2] == [1, 1]
    assert (first["speed_up_low"] <= first["speed_up"]).all() and (first["sequences"] == 4).all()
    draw(["speed-up"], folder, ("png",), baseline="lfu")
    second = pd.read_csv(folder / "figures" / "speed-up.csv")
    assert second["speed_up"].tolist()[:2] == pytest.approx((1 / first["speed_up"]).tolist()[2:])
    with pytest.raises(InputError, match=r"did you mean 'lfu'\?"):
        draw(["speed-up"], folder, baseline="lfuu")
    with pytest.raises(InputError, match="draw one of: speed-up"):
        draw(["hit-rate"], folder, baseline="lfu")


def test_whiskers_of_systems_at_one_size_stand_apart_but_near_it() -> None:
    sizes = (1, 2, 4, 8, 12, 16)
    figure, _ = plotted("speed-up", summary(systems=LONG, sizes_gib=sizes))
    places = np.array([line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 6])
    assert len(np.unique(places.round(9), axis=0)) == len(LONG) - 1
    assert (np.abs(np.log(places / np.array(sizes))) < np.log(16 / 12) / 2).all()


@pytest.mark.parametrize(
    ("sizes", "shares", "at", "drawn"),
    [((2, 4), (), 2.5, True), ((0.5, 1), (), 2.5, False), ((4, 8), (0.25, 0.5), 15.625, True)],
)
def test_one_token_s_experts_are_where_they_are_on_the_axis(
    sizes: tuple[float, ...], shares: tuple[float, ...], at: float, drawn: bool
) -> None:
    frame = summary(systems=("lru", "lfu"), sizes_gib=sizes)
    if shares:
        key = "memory.gpu_expert_cache.fraction"
        parts = [frame[frame["gpu_expert_cache_bytes"] == int(size * GIB)] for size in sizes]
        frame = pd.concat([part.assign(**{key: share}) for part, share in zip(parts, shares, strict=True)])
    figure, data = plotted("hit-rate", frame)
    assert data["token_cycle_on_the_axis"].tolist() == pytest.approx([at] * 4)
    upright = [line.get_xdata()[0] for line in figure.axes[0].lines if len({*line.get_xdata()}) == 1]
    assert upright == pytest.approx([at] if drawn else [], rel=1e-3)
