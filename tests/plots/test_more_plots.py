"""Figures of misses, prefetches, fidelity, parts and time: numbers against oracles, words in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.plots import (
    ablation,
    miss_penalty,
    pareto,
    popularity,
    prefetch_quality,
    residency,
    sensitivity,
    utilisation,
)
from simulator.plots.chosen import choose
from simulator.plots.save import render
from simulator.plots.style import STYLES, WIDTHS, paper, styled

GIB = 1 << 30
LONG = tuple(f"a-system-with-a-long-name-{'predictive-' * (i % 3)}{i}" for i in range(12))
LINKS = ("busy_ssd_to_cpu_ns", "busy_cpu_to_gpu_ns")


def summary(
    systems: Sequence[str] = ("lru",),
    sizes_gib: Sequence[float] = (4,),
    models: Sequence[str] = ("mixtral-8x7b",),
    machines: Sequence[str] = ("rtx4090-pcie4",),
    seeds: Sequence[int] = (0,),
    swept: dict[str, Sequence[object]] | None = None,
) -> pd.DataFrame:
    """Return a summary with a run for each combination; every second system prefetches."""
    keys = list(swept or {})
    rows = []
    runs = product(models, machines, enumerate(systems), sizes_gib, product(*(swept or {}).values()), seeds)
    for n, (model, machine, (which, system), size, values, seed) in enumerate(runs):
        rows.append(
            {
                "run": float(n),
                "experiment": "test",
                "system": system,
                "model": model,
                "hardware": machine,
                "trace": f"{model}-trace",
                "seed": float(seed),
                "gpu_expert_cache_bytes": size * GIB,
                "cpu_expert_cache_bytes": np.nan,
                **{key: str(value) for key, value in zip(keys, values, strict=True)},
                "tokens_per_second": 10.0 + (7 * n) % 23,
                "late_rate": 0.1 + which / 100,
                "miss_penalty": 0.5 / (1 + which + size),
                "prefetch_accuracy": 0.9 - which / 50 if which % 2 == 0 else np.nan,
                "prefetch_coverage": 0.3 if which % 2 == 0 else np.nan,
                "started_prefetches": 1000.0 * (which % 2 == 0),
                "wasted_bytes": 1e9 * (which % 2 == 0),
                "bytes_ssd_to_cpu": 4e9,
                "bytes_cpu_to_gpu": 6e9,
                "bytes_gpu_to_cpu": 99e9,
                "bytes_ssd_to_gpu": np.nan,
                "gate_mass_high": 0.9,
                "gate_mass_low": which / 100,
                "gate_mass_substituted": 0.01,
                "gate_mass_deferred": 0.05,
                "gate_mass_skipped": 0.0,
            }
        )
    return pd.DataFrame(rows)


def tokens_of(frame: pd.DataFrame, passes: int = 21) -> pd.DataFrame:
    """Return passes of a batch of two: the first prefill, links and compute busy for a part of them."""
    parts = []
    for run in frame["run"].astype(int):
        index = np.arange(passes)
        length = 1_000_000 + 40_000 * ((index * 7 + run) % 11)
        part = {
            "run": run,
            "pass": index,
            "phase": np.where(index % 20 < 3, "prefill", "decode"),
            "start_ns": np.cumsum(length) - length,
            "latency_ns": length,
            "dense_ns": length // 5,
            "expert_compute_ns": length // 7,
            "busy_ssd_to_cpu_ns": length // 3,
            "busy_cpu_to_gpu_ns": length - 17 * index,
            "busy_cpu_ns": 0,
        }
        parts += [pd.DataFrame({**part, "sequence": sequence}) for sequence in (0, 1)]
    return pd.concat(parts, ignore_index=True)


def experts_of(frame: pd.DataFrame, layers: int = 4, experts: int = 16, *, low: bool = True) -> pd.DataFrame:
    """Return experts whose lookups depend on the model alone; every third run has a lower precision."""
    parts = []
    for run, model in zip(frame["run"].astype(int), frame["model"], strict=True):
        layer, expert = (index.ravel() for index in np.indices((layers, experts)))
        lookups = (layer * 5 + expert * 7 + len(model)) % experts
        part = {
            "run": run,
            "layer": layer,
            "expert": expert,
            "lookups": lookups,
            "resident_steps": lookups * 100 // experts,
            "resident_low_steps": (100 - lookups) * (low and run % 3 == 2),
            "steps": 100,
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def steps(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a summary whose systems are variants of one, each adding a part to the one before."""
    rank = frame["system"].map(list(dict.fromkeys(frame["system"])).index)
    at = frame.columns.get_loc("tokens_per_second")
    found = frame.assign(system="hobbit")
    found.insert(at, "policies.base", np.where(rank > 0, "with parts", "plain"))
    for part in range(1, 1 + rank.max()):
        found.insert(at + part, f"policies.part_{part}", np.where(rank >= part, "on", ""))
    return found


Plot = Callable[[pd.DataFrame], tuple[Any, pd.DataFrame]]
FIGURES: dict[str, Plot] = {
    "miss-penalty": miss_penalty.plot,
    "prefetch-quality": prefetch_quality.plot,
    "pareto": pareto.plot,
    "ablation": lambda frame: ablation.plot(steps(frame)),
    "sensitivity": sensitivity.plot,
    "utilisation": lambda frame: utilisation.plot(frame, tokens_of(frame)),
    "residency": lambda frame: residency.plot(frame, experts_of(frame)),
    "popularity": lambda frame: popularity.plot(frame, experts_of(frame)),
}
KEYS: dict[str, Sequence[object]] = {
    "policies.prefetch.depth": (1, 2, 4),
    "runtime.preemption": ("none", "at the next boundary of a chunk"),
}
CASES: dict[str, dict[str, Any]] = {
    "one run": {},
    "two runs": {"systems": ("lru", "hobbit")},
    "systems by size": {"systems": ("lru", "lfu", "hobbit"), "sizes_gib": (4, 8, 12, 16)},
    "many": {"systems": LONG, "sizes_gib": (1, 2, 4, 8, 12, 16)},
    "many at one size": {"systems": LONG},
    "panels": {
        "systems": ("lru", "hobbit"),
        "sizes_gib": (4, 8),
        "models": ("a", "b"),
        "machines": ("c", "d"),
    },
    "panels at one size": {
        "systems": LONG,
        "models": ("a-model-of-a-long-name", "b"),
        "machines": ("c", "d"),
    },
    "long panels": {"systems": LONG[:3], "sizes_gib": (4, 8), "models": LONG[:2], "machines": LONG[2:4]},
    "seeds": {"systems": ("random", "lru"), "sizes_gib": (4, 8), "seeds": (0, 1, 2)},
    "keys": {"systems": ("lru", "hobbit"), "swept": KEYS},
    "keys of many": {"systems": LONG, "sizes_gib": (4, 8), "models": ("a", "b"), "swept": KEYS},
}


def asked(name: str, case: str) -> bool:
    """Return whether a folder of this kind can be asked for the figure."""
    if name in {"sensitivity", "ablation"}:
        return ("swept" in CASES[case]) == (name == "sensitivity") and case != "one run"
    if name in {"utilisation", "residency"} and case in {"systems by size", "many at one size", "seeds"}:
        return False  # twelve panels, as of "many"
    return case != "keys of many"


@pytest.fixture(autouse=True)
def in_the_style_of_papers() -> Iterator[None]:
    with paper():
        yield


def drawn(name: str, frame: pd.DataFrame) -> tuple[Any, pd.DataFrame]:
    """Return a figure laid out, and its data."""
    figure, data = FIGURES[name](frame)
    figure.draw_without_rendering()
    return figure, data


def boxes(texts: Sequence[Any]) -> list[Any]:
    return [text.get_window_extent() for text in texts if text.get_text().strip() and text.get_visible()]


LOOKS = [
    *((case, "paper", None) for case in CASES),
    *(("panels", *look) for look in (("talk", None), ("paper", "icml"), ("paper", "neurips"))),
]


@pytest.mark.parametrize(
    ("name", "look"),
    [pytest.param(n, look, id=f"{n}-{look}") for look in LOOKS for n in FIGURES if asked(n, look[0])],
)
def test_words_stay_within_the_figure_and_apart(name: str, look: tuple[str, str, str | None]) -> None:
    case, style, width = look
    with styled(style, width):
        _check_words(
            drawn(name, summary(**CASES[case]))[0],
            WIDTHS[width] if width else (STYLES[style].column, STYLES[style].page),
            STYLES[style].highest,
        )


def _check_words(figure: Any, widths: tuple[float, float], highest: float) -> None:
    assert figure.get_size_inches()[0] in widths
    assert figure.get_size_inches()[1] <= highest
    canvas, outside = figure.bbox, []
    for axes in figure.axes:
        assert axes.bbox.width > (5 if axes.get_label() == "<colorbar>" else 40), "axes squeezed away"
        assert axes.bbox.height > 15, "axes squeezed away"
        y = [
            b
            for b in boxes(axes.get_yticklabels())
            if axes.bbox.y0 - 1 < (b.y0 + b.y1) / 2 < axes.bbox.y1 + 1
        ]
        x = [
            b
            for b in boxes(axes.get_xticklabels())
            if axes.bbox.x0 - 1 <= (b.x0 + b.x1) / 2 <= axes.bbox.x1 + 1
        ]
        assert not any(a.overlaps(b) for a, b in pairwise(y))
        if not axes.get_xticklabels() or not axes.get_xticklabels()[0].get_rotation():
            assert not any(a.overlaps(b) for a, b in pairwise(x))
        titles = boxes([axes.title, axes._left_title])
        own = [*titles, *boxes([axes.xaxis.label, axes.yaxis.label, *axes.texts])]
        for box in (*own, *x, *y):
            assert (box.x0 >= -1, box.x1 <= canvas.x1 + 1) == (True, True)
            assert (box.y0 >= -1, box.y1 <= canvas.y1 + 1) == (True, True)
        outside += [*titles, *boxes([axes.xaxis.label, axes.yaxis.label]), *y]
        outside += boxes([text for text in axes.texts if text.get_position()[1] == 1])
    for a, b in ((a, b) for i, a in enumerate(outside) for b in outside[:i]):
        assert not shrunk(a).overlaps(shrunk(b))
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert (box.x0 >= -1, box.x1 <= canvas.x1 + 1) == (True, True)
        assert (box.y0 >= -1, box.y1 <= canvas.y1 + 1) == (True, True)
        assert not any(box.overlaps(axes.bbox) for axes in figure.axes)
        assert not any(box.overlaps(other) for other in outside)


def shrunk(box: Any) -> Any:
    """Return a box without the room above and below its letters."""
    return box.padded(-1, -1)


@pytest.mark.parametrize(
    "name", [name for name in FIGURES if name not in {"utilisation", "residency", "popularity"}]
)
@pytest.mark.parametrize("sizes", [(4,), (4, 8)])
@pytest.mark.parametrize("empty", ["some", "all"])
def test_empty_cells_are_survived(name: str, sizes: tuple[int, ...], empty: str) -> None:
    swept = {} if name == "ablation" else {"workload.batch_size": (1, 2)}
    frame = summary(systems=("lru", "lfu"), sizes_gib=sizes, swept=swept)
    metrics = list(frame.columns[frame.columns.get_loc("tokens_per_second") :])
    frame.loc[slice(0, 0) if empty == "some" else slice(None), metrics] = np.nan
    assert len(drawn(name, frame)[1])


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_results_give_the_same_bytes(name: str) -> None:
    frame = summary(
        systems=("lru", "hobbit"), swept={} if name == "ablation" else {"workload.batch_size": (1, 2)}
    )
    pages = []
    for _ in range(2):
        figure, data = FIGURES[name](frame)
        pages.append((render(figure, "pdf"), data.to_csv(index=False)))
    assert pages[0] == pages[1]
    assert b"/Type3" not in pages[0][0]


# -- fidelity -------------------------------------------------------------------------------------

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=30)


@given(POINTS)
def test_the_front_is_what_no_run_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(i: int) -> bool:
        speed, lost = points[i]
        return any(s >= speed and m <= lost and (s > speed or m < lost) for s, m in points)

    speeds, lost = (np.array([point[axis] for point in points], float) for axis in (0, 1))
    assert pareto.front(speeds, lost).tolist() == [not dominated(i) for i in range(len(points))]


def test_deferred_mass_is_not_lost_and_each_panel_has_its_front() -> None:
    frame = summary(systems=("lru", "lfu", "hobbit"), models=("a", "b"))
    _, data = pareto.plot(frame)
    assert data["gate_mass_lost_percent"].tolist() == pytest.approx([1, 2, 3, 1, 2, 3])
    assert data["gate_mass_deferred_percent"].tolist() == pytest.approx([5] * 6)
    assert data.groupby("model")["on_front"].any().all()
    frame.loc[0, "gate_mass_low"] = np.nan
    assert not pareto.plot(frame)[1]["on_front"][0]


def small_print(figure: Any) -> str:
    return figure.legends[-1].get_title().get_text().replace("\n", " ")


def fronts(figure: Any) -> list[Any]:
    """Return the lines drawn as fronts."""
    return [line for axes in figure.axes for line in axes.lines if line.get_drawstyle() == "steps-pre"]


def test_each_cache_size_has_its_front_and_bounds_are_on_none() -> None:
    frame = summary(systems=("exact", "lossy", "slow", "oracle"), sizes_gib=(4, 8)).assign(
        tokens_per_second=[10.0, 20, 30, 40, 5, 6, 99, 99],
        gate_mass_low=[0.0, 0, 0.2, 0.2, 0, 0, 0, 0],
        knows_future=["false"] * 6 + ["true"] * 2,
    )
    figure, data = pareto.plot(frame)
    assert data["on_front"].tolist() == [True] * 4 + [False] * 4
    assert [line.get_xdata().tolist() for line in fronts(figure)] == [[10, 30], [20, 40]]
    assert len({line.get_color() for line in fronts(figure)}) == 2
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["exact", "lossy", "slow", "oracle (knows future)", "front"]
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata()[0] for line in hollow] == [99, 99]
    assert "each size has its front" in small_print(figure)
    assert "knows the future, so on no front" in small_print(figure)


def test_one_run_that_is_best_in_both_is_no_front() -> None:
    frame = summary(systems=("a", "b")).assign(tokens_per_second=[2.0, 1.0], gate_mass_low=[0.0, 0.1])
    figure, _ = pareto.plot(frame)
    assert fronts(figure) == []
    assert "No front: one run is best in both." in small_print(figure)


def test_many_settings_are_drawn_by_their_system() -> None:
    frame = summary(systems=("lru", "hobbit"), swept={"runtime.x": range(12)})
    figure, data = pareto.plot(frame)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names in (["lru", "hobbit"], ["lru", "hobbit", "front"])
    assert len(data) == 24
    assert "the CSV tells them apart" in small_print(figure)


# -- prefetches and misses ------------------------------------------------------------------------


def test_waste_is_a_share_of_bytes_towards_the_main_unit_and_idle_systems_are_named() -> None:
    figure, data = prefetch_quality.plot(summary(systems=("ahead", "idle")))
    note = figure.legends[0].get_title().get_text()
    assert data["wasted_percent"].tolist() == pytest.approx([10, np.nan], nan_ok=True)
    assert data["late_percent"].tolist() == pytest.approx([10, np.nan], nan_ok=True)
    assert note.replace("\n", " ").endswith("bytes loaded. No prefetches, so not shown: idle.")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["ahead"]
    assert "late lookups: late / all lookups" in note.replace("\n", " ")


def test_a_single_system_that_prefetches_is_named_among_others() -> None:
    figure, _ = prefetch_quality.plot(summary(systems=("ahead", "idle"), sizes_gib=(4, 8)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ahead"]
    alone, _ = prefetch_quality.plot(summary(systems=("ahead",), sizes_gib=(4, 8)))
    assert [text.get_text() for legend in alone.legends for text in legend.get_texts()] == []


def test_no_prefetches_at_all_are_said() -> None:
    figure, _ = prefetch_quality.plot(summary().assign(started_prefetches=0.0))
    assert figure.axes[0].texts[0].get_text() == "no run has prefetches"


def test_miss_penalty_is_drawn_as_the_csv_says() -> None:
    figure, data = miss_penalty.plot(summary(systems=("lru", "lfu"), sizes_gib=(8, 4)))
    lines = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert lines == [
        own["miss_penalty_experts_per_lookup"].tolist() for _, own in data.groupby("system", sort=False)
    ]
    figure, data = miss_penalty.plot(summary(systems=("lru", "lfu")))
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths == data["miss_penalty_experts_per_lookup"].tolist()


# -- parts and keys -------------------------------------------------------------------------------


@given(st.lists(st.floats(0.1, 1e4) | st.just(np.nan), min_size=2, max_size=8))
@settings(max_examples=25, deadline=None)
def test_steps_add_up_to_the_last_variant(speeds: list[float]) -> None:
    frame = summary(systems=[f"s{i}" for i in range(len(speeds))]).assign(tokens_per_second=speeds)
    figure, data = ablation.plot(steps(frame))
    known = [speed for speed in speeds if not np.isnan(speed)]
    if known:
        assert known[0] + data["step_tokens_per_second"].sum() == pytest.approx(known[-1], rel=1e-9, abs=1e-9)
        bars = figure.axes[0].patches
        assert (bars[0].get_width(), bars[-1].get_width()) == (known[0], known[-1])
        assert sum(bar.get_width() for bar in bars[1:-1]) == pytest.approx(
            sum(abs(a - b) for a, b in pairwise(known)), abs=1e-9
        )


def test_an_ablation_has_a_panel_a_size_and_says_what_it_leaves_out() -> None:
    figure, data = ablation.plot(steps(summary(systems=("a", "b"), sizes_gib=range(1, 9))))
    assert len(figure.axes) == 6
    assert set(data["selection"]) == {"6 of 8 panels (the first with at least two variants)"}
    alone = steps(summary(systems=("a", "b"), sizes_gib=(4, 8)).head(3))
    assert set(ablation.plot(alone)[1]["selection"]) == {
        "1 of 2 panels (the first with at least two variants)"
    }
    with pytest.raises(InputError, match="one variant only"):
        ablation.plot(summary(sizes_gib=(4, 8)))


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (summary(systems=("lru", "hobbit")), "systems replace one another"),
        (summary(swept={"policies.prefetch.depth": (1, 2, 4)}), "depth' changes more than once"),
        (summary(swept={"policies.eviction": ("lru", "lfu")}), "only 'policies.eviction' changes"),
        (summary(swept={"runtime.x": (1, 2), "runtime.y": (1, 2)}), "'runtime.y' changes more than once"),
    ],
    ids=["systems", "values of a key", "two values of a key", "a grid"],
)
def test_what_replaces_one_another_is_no_ablation(frame: pd.DataFrame, what: str) -> None:
    with pytest.raises(InputError, match=what) as error:
        ablation.plot(frame)
    assert "each keeping what the one before changed" in str(error.value)


def test_variants_of_a_list_are_an_ablation_though_some_are_called_modified() -> None:
    frame = steps(summary(systems=("a", "b", "c"), sizes_gib=(4, 8)))
    frame["system"] = np.where(frame["policies.base"] == "plain", "hobbit", "hobbit (modified)")
    figure, data = ablation.plot(frame)
    assert len(figure.axes) == 2
    assert data["step_tokens_per_second"].notna().sum() == 4


@pytest.mark.parametrize(
    ("variants", "names"),
    [
        (["x a, y a", "x b, y a", "x b, y b"], ["x a, y a", "+ x b", "+ y b", "= total"]),
        (["x a, y a", "x b, y a", "x a, y a, z", "x b, y a"], None),  # x b is added twice
        (["x, y", "x"], None),  # nothing is added
    ],
)
def test_a_step_is_named_by_what_it_changes(variants: list[str], names: list[str] | None) -> None:
    found = [variants[0], *ablation._added(variants), "= total"]
    assert found == (names or [variants[0], *(f"+ {name}" for name in variants[1:]), "= total"])


def test_a_key_is_compared_with_its_first_value_and_the_others_at_theirs() -> None:
    frame = summary(
        systems=("lru", "hobbit"), sizes_gib=(4, 8), swept={"workload.batch_size": (2, 1), "runtime.x": "ab"}
    )
    figure, data = sensitivity.plot(frame)
    change = data.set_index(["system", "key", "value"])["tokens_per_second_change_percent"]
    for system in ("lru", "hobbit"):
        assert change[system, "workload.batch_size", "2"] == change[system, "runtime.x", "a"] == 0
        own = frame[(frame["system"] == system) & (frame["gpu_expert_cache_bytes"] == 4 * GIB)]
        base, other, small = (own["tokens_per_second"].iloc[i] for i in (0, 1, 2))
        assert change[system, "runtime.x", "b"] == pytest.approx(100 * (other - base) / base)
        assert change[system, "workload.batch_size", "1"] == pytest.approx(100 * (small - base) / base)
    assert [axes.get_xlabel() for axes in figure.axes] == ["batch size", "x"]


def test_a_system_whose_policies_a_key_overrides_is_still_that_system() -> None:
    frame = summary(swept={"policies.prefetch.depth": (1, 2)})
    frame["system"] = ["hobbit", "hobbit (modified)"]
    _, data = sensitivity.plot(frame)
    assert data["system"].tolist() == ["hobbit", "hobbit"]


@pytest.mark.parametrize(
    ("values", "scale"),
    [((1, 2, 16), "linear"), ((1, 4, 64), "log"), (("1 GB/s", "50 GB/s"), "log"), ("ab", "linear")],
)
def test_a_wide_span_of_numbers_is_logarithmic(values: Sequence[object], scale: str) -> None:
    figure, _ = sensitivity.plot(summary(swept={"runtime.x": values}))
    assert figure.axes[0].get_xscale() == scale
    assert figure.axes[0].get_xlabel() == ("x (GB/s)" if "GB" in str(values) else "x")


def test_keys_that_vary_only_together_are_said() -> None:
    frame = summary(swept={"runtime.x": (1, 2), "runtime.y": (1, 2, 3)})
    together = frame["runtime.x"].eq(frame["runtime.y"]) | frame["runtime.x"].eq("1")
    figure, _ = sensitivity.plot(frame[together])
    assert [axes.get_xlabel() for axes in figure.axes] == ["y"]
    assert figure.legends[-1].get_title().get_text().endswith("Never varied alone: x.")
    with pytest.raises(InputError, match="varies alone"):
        sensitivity.plot(frame[frame["runtime.x"].eq(frame["runtime.y"])])


def test_what_no_key_tells_apart_has_no_sensitivity() -> None:
    with pytest.raises(InputError, match="sweep another key"):
        sensitivity.plot(summary(systems=("lru", "lfu"), sizes_gib=(4, 8)))


# -- time -----------------------------------------------------------------------------------------

PASSES = st.lists(
    st.tuples(st.integers(1, 10**9), st.floats(0, 1), st.integers(0, 10**6)), min_size=1, max_size=40
)


@given(PASSES, st.integers(1, 120))
@settings(deadline=None)
def test_bins_conserve_busy_time(passes: list[tuple[int, float, int]], bins: int) -> None:
    rows, start = [], 0
    for index, (length, share, gap) in enumerate(passes):
        start += gap
        busy = int(share * length)
        row = {"pass": index, "phase": "decode", "start_ns": start, "latency_ns": length, "dense_ns": busy}
        rows += 2 * [row | {"expert_compute_ns": 0, "busy_cpu_ns": length - busy, LINKS[1]: busy}]
        start += length
    found = utilisation.utilisation(pd.DataFrame(rows), bins)
    width = 1e6 * (found["bin_end_ms"] - found["bin_start_ms"])
    once = rows[::2]
    for column, name in {
        "main_unit": "dense_ns",
        "cpu_to_gpu": LINKS[1],
        "cpu_helper": "busy_cpu_ns",
    }.items():
        share = found[f"{column}_busy_percent"]
        assert (share / 100 * width).sum() == pytest.approx(
            sum(row[name] for row in once), rel=1e-9, abs=1e-3
        )
        assert -1e-6 < share.min() <= share.max() < 100 + 1e-6


def test_a_pass_over_a_border_counts_on_both_sides() -> None:
    row = {"expert_compute_ns": 0, "busy_cpu_ns": 0, LINKS[0]: None}
    rows = [
        row | {"pass": 0, "phase": "prefill", "start_ns": 0, "latency_ns": 300, "dense_ns": 300},
        row | {"pass": 1, "phase": "decode", "start_ns": 300, "latency_ns": 100, "dense_ns": 0},
    ]
    found = utilisation.utilisation(pd.DataFrame(rows), 2)
    assert found["main_unit_busy_percent"].tolist() == found["prefill_percent"].tolist() == [100, 50]
    assert found["ssd_to_cpu_busy_percent"].isna().all()


def test_a_link_that_no_run_has_is_no_strip_and_prompts_are_marked() -> None:
    frame = summary(systems=("lru", "lfu"))
    table = tokens_of(frame).assign(**{LINKS[0]: np.nan})
    figure, data = utilisation.plot(frame, table)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["main unit", "CPU to GPU"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["prompt passes"]
    assert len(data) == 2 * 120
    assert "not shown" not in small_print(figure)
    with pytest.raises(InputError, match="no column 'busy_cpu_ns'"):
        utilisation.plot(frame, table.drop(columns="busy_cpu_ns"))


def test_a_link_that_is_idle_in_every_run_has_no_strip_and_is_named() -> None:
    frame = summary(systems=("lru", "lfu"))
    table = tokens_of(frame)
    table[LINKS[0]] = table["latency_ns"] // 200
    figure, data = utilisation.plot(frame, table)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["main unit", "CPU to GPU"]
    assert "Busy for at most 1 % of any run, so not shown: SSD to CPU." in small_print(figure)
    assert data["ssd_to_cpu_busy_percent"].mean() == pytest.approx(0.5, abs=0.01)
    table.loc[table["run"] == 1, LINKS[0]] = table["latency_ns"] // 2  # one run that uses it is enough
    figure, _ = utilisation.plot(frame, table)
    assert "SSD to CPU" in [label.get_text() for label in figure.axes[0].get_yticklabels()]


@pytest.mark.parametrize("name", ["utilisation", "residency"])
def test_a_slide_has_fewer_runs_than_a_page(name: str) -> None:
    frame = summary(systems=[*"abcdefghijkl"])
    page = FIGURES[name](frame)[1]["run"].nunique()
    with styled("talk"):
        figure, data = FIGURES[name](frame)
    assert figure.get_size_inches()[1] <= STYLES["talk"].highest
    shown = data["run"].nunique()
    assert 1 < shown < page
    assert f"Shown: {shown} of 12 runs" in small_print(figure)


def test_the_title_of_a_share_is_short() -> None:
    frame = summary(systems=("lru", "lfu"), sizes_gib=(4, 8))
    frame["memory.gpu_expert_cache.fraction"] = np.where(
        frame["gpu_expert_cache_bytes"] == 4 * GIB, 0.125, 0.5
    )
    figure, _ = FIGURES["residency"](frame)
    assert figure.axes[0].get_title() == "lru\nGPU cache 12.5 %"


@pytest.mark.parametrize(
    ("case", "selection"),
    [
        ({"systems": "abcdef", "sizes_gib": (1, 2)}, "all runs"),
        ({"systems": "abcdef", "sizes_gib": (1, 2), "seeds": (0, 1)}, "12 of 24 runs (first seed)"),
        ({"systems": "abcde", "sizes_gib": (1, 2, 3)}, "10 of 15 runs (smallest and largest cache)"),
        ({"systems": "abcdefgh", "sizes_gib": (1, 2)}, "8 of 16 runs (smallest cache, GPU cache 1 GiB)"),
        ({"systems": [*"abcdefghijklmn"]}, "12 of 14 runs (the first 12)"),
    ],
)
def test_of_more_runs_than_there_is_room_for_the_rule_is_said(case: dict[str, Any], selection: str) -> None:
    chosen = choose(summary(**case), 12)
    assert chosen.selection == selection
    assert len(chosen.titles) == len(chosen.identity) == int(selection.replace("all runs", "12").split()[0])
    assert len({tuple(title) for title in chosen.titles.values()}) == len(chosen.titles)


@pytest.mark.parametrize("name", ["utilisation", "residency"])
def test_runs_that_are_not_shown_are_said_in_the_figure_and_its_data(name: str) -> None:
    figure, data = FIGURES[name](summary(systems=[*"abcdefghijklmn"]))
    assert set(data["selection"]) == {"12 of 14 runs (the first 12)"}
    assert data["run"].nunique() == 12
    assert figure.legends[-1].get_title().get_text().endswith("Shown: 12 of 14 runs (the first 12).")


# -- experts --------------------------------------------------------------------------------------


def test_residency_is_a_share_of_layer_steps_by_rank() -> None:
    frame = summary()
    table = experts_of(frame, layers=2, experts=3, low=False)
    table["lookups"], table["resident_steps"] = [5, 9, 5, 0, 1, 2], [10, 90, 20, 0, 50, 100]
    figure, data = residency.plot(frame, table)
    assert data["expert"].tolist() == [1, 0, 2, 2, 1, 0]
    assert data["resident_percent"].tolist() == [90, 10, 20, 100, 50, 0]
    image = figure.axes[0].images[0]
    assert image.get_array().tolist() == [[90, 10, 20], [100, 50, 0]]
    assert (image.norm.vmin, image.norm.vmax) == (0, 100)


def test_lower_precisions_have_a_panel_of_their_own_where_there_are_any() -> None:
    frame = summary(systems="abc")
    figure, _ = residency.plot(frame, experts_of(frame))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["a", "b", "c\nmain precision", "c\nlower precision", ""]


def test_popularity_has_a_panel_for_each_recording_and_measures_skew() -> None:
    frame = summary(systems=("lru", "lfu"), models=("a", "bb"))
    figure, data = popularity.plot(frame, experts_of(frame, layers=2, experts=16))
    assert [axes.get_title() for axes in figure.axes[:4]] == ["a, a-trace", "", "bb, bb-trace", ""]
    assert data.groupby("model", sort=False)["runs"].first().tolist() == ["0 to 1", "2 to 3"]
    for _, layer in data.groupby(["model", "layer"]):
        counts = layer["lookups"].to_numpy(float)
        assert counts.tolist() == sorted(counts, reverse=True)
        assert layer["share_percent"].sum() == pytest.approx(100)
        assert layer["lookups_relative_to_uniform"].mean() == pytest.approx(1)
        assert layer["most_looked_up_tenth_percent"].iloc[0] == pytest.approx(
            100 * counts[:2].sum() / counts.sum()
        )
        p = counts[counts > 0] / counts.sum()
        assert layer["entropy_percent"].iloc[0] == pytest.approx(-100 * (p * np.log(p)).sum() / np.log(16))


def test_runs_of_a_trace_that_looked_up_others_are_apart() -> None:
    frame = summary(systems=("lru", "lfu", "fifo"))
    table = experts_of(frame)
    table.loc[table["run"] == 2, "lookups"] += 1
    figure, _ = popularity.plot(frame, table)
    assert [axes.get_title() for axes in figure.axes[:4:2]] == ["runs 0 to 1", "run 2"]


@pytest.mark.parametrize("plot", [residency.plot, popularity.plot, utilisation.plot])
def test_tables_without_rows_say_so(plot: Any, tmp_path: Path) -> None:
    frame = summary()
    table = (tokens_of if plot is utilisation.plot else experts_of)(frame).head(0)
    figure, data = plot(frame, table)
    assert "no run has" in figure.axes[0].texts[0].get_text()
    assert data.empty
    assert not data.columns.empty


def test_passes_that_take_no_time_are_none() -> None:
    frame = summary()
    figure, _ = utilisation.plot(frame, tokens_of(frame).assign(latency_ns=0))
    assert figure.axes[0].texts[0].get_text() == "no run has passes"
