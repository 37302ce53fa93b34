"""Figures are drawn from results alone, the same bytes each time, with the data that they show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from simulator.analysis.groups import group
from simulator.errors import InputError
from simulator.plots import FIGURES, draw, listing
from simulator.plots.style import STYLES, WIDTHS, styled

GIB = 1 << 30
LONG = tuple(f"a-system-with-a-long-name-{'predictive-' * (i % 3)}{i}" for i in range(12))
OWN = ("tokens-per-second", "hit-rate", "latency-breakdown", "speed-up", "latency-cdf")
STALLS = ("stall_cpu_to_gpu_ms_per_token", "stall_ssd_to_cpu_ms_per_token")


def summary(
    systems: Sequence[str] = ("lru",),
    sizes_gib: Sequence[float] = (4,),
    models: Sequence[str] = ("mixtral-8x7b",),
    machines: Sequence[str] = ("rtx4090-pcie4",),
    seeds: Sequence[int] = (0,),
    bounds: int = 1,
    **swept: object,
) -> pd.DataFrame:
    """Return a summary with one run for each combination; figures of a run follow from its place.

    ``bounds`` is how many different bounds the systems have; 0 leaves them empty.
    """
    rows = []
    runs = product(models, machines, enumerate(systems), sizes_gib, seeds)
    for n, (model, machine, (which, system), size, seed) in enumerate(runs):
        stall = 20.0 - n / 100
        rows.append(
            {
                "run": n,
                "experiment": "test",
                "system": system,
                "model": model,
                "hardware": machine,
                "trace": f"{model}-trace",
                "seed": seed,
                "gpu_expert_cache_bytes": int(size * GIB),
                "cpu_expert_cache_bytes": np.nan,
                **swept,
                "tokens_per_second": 10.0 + n,
                "hit_rate": 0.5 + n / 1000,
                "late_rate": 0.1 if which == 1 else 0.0,
                "dense_ms_per_token": 2.0,
                "expert_compute_ms_per_token": 3.0,
                "cpu_expert_wait_ms_per_token": 0.0,
                "stall_ms_per_token": stall,
                STALLS[0]: stall * 0.75,
                STALLS[1]: stall * 0.25,
                "overhead_ms_per_token": 0.5,
                "token_cycle_bytes": 2.5 * GIB,
                "belady_hit_rate": 0.9 + which % bounds / 100 if bounds else np.nan,
            }
        )
    return pd.DataFrame(rows)


def tokens(frame: pd.DataFrame, fold: int = 30) -> pd.DataFrame:
    """Return the tokens of a summary's runs: four sequences of a prompt and 12 decoded tokens each.

    The slowest token takes ``fold`` times the fastest.
    """
    generator = np.random.default_rng(0)
    rows = []
    for run in frame["run"]:
        now = 0
        ms = np.geomspace(2, 2 * fold, 48) * (1 + run % 7 / 7) * generator.uniform(0.9, 1.1, 48)
        for at in range(52):
            decoded = at % 13 > 0
            ns = int(1e6 * ms[at - at // 13 - 1]) if decoded else 10**9
            rows.append(
                {
                    "run": run,
                    "pass": at,
                    "sequence": at // 13,
                    "phase": "decode" if decoded else "prefill",
                    "tokens": 1 if decoded else 100,
                    "start_ns": now,
                    "latency_ns": ns,
                    "lookups": 10,
                    "hits": 5,
                }
            )
            now += ns
    return pd.DataFrame(rows)


def results(folder: Path, frame: pd.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "summary.csv", index=False)
    tokens(frame).to_parquet(folder / "tokens.parquet")
    return folder


def plotted(name: str, frame: pd.DataFrame) -> tuple[Any, pd.DataFrame]:
    return FIGURES[name].plot(frame, *([tokens(frame)] if FIGURES[name].tables else []))


def shown(folder: Path, name: str) -> pd.DataFrame:
    draw([name], folder)
    return pd.read_csv(folder / "figures" / f"{name}.csv")


CASES: dict[str, dict[str, Any]] = {
    "one run": {},
    "systems by size": {"systems": ("lru", "lfu", "hobbit"), "sizes_gib": (4, 8, 12, 16)},
    "two models": {"systems": ("lru", "lfu"), "sizes_gib": (4, 8), "models": ("mixtral-8x7b", "olmoe-1b-7b")},
    "two models at one size": {"systems": ("lru", "lfu"), "models": ("mixtral-8x7b", "olmoe-1b-7b")},
    "long names": {"systems": LONG},
    "many bars": {"systems": LONG, "sizes_gib": (1, 2, 4, 8, 12, 16), "bounds": 5},
    "many panels": {"systems": LONG, "sizes_gib": (1, 2, 4, 8), "models": ("a", "b"), "machines": ("c", "d")},
    "many sizes": {"systems": LONG[:7], "sizes_gib": range(1, 15), "bounds": 3},
    "small sizes": {"systems": LONG[:2], "sizes_gib": (0.1, 0.2)},
    "seeds": {"systems": ("random", "lru"), "sizes_gib": (4, 8), "seeds": (0, 1, 2)},
    "six sizes of two models": {
        "systems": ("lru", "lfu", "hobbit", "moe-infinity"),
        "sizes_gib": (1, 2, 4, 8, 16, 32),
        "models": ("mixtral-8x7b", "olmoe-1b-7b"),
        "bounds": 2,
    },
    "no bound": {"systems": ("lru", "lfu"), "sizes_gib": (4, 8), "bounds": 0},
}


def boxes(texts: Sequence[Any]) -> list[Any]:
    return [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]


LOOKS = [
    *((case, "paper", None) for case in CASES),
    *(
        (case, style, width)
        for case in ("systems by size", "long names", "two models")
        for style, width in (("talk", None), ("notebook", None), ("paper", "icml"), ("paper", "neurips"))
    ),
]


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(("which", "style", "width"), LOOKS, ids=str)
def test_words_stay_within_the_figure_and_apart(name: str, which: str, style: str, width: str | None) -> None:
    case = CASES[which]
    frame = summary(**case)
    if name == "speed-up" and group(frame).series[1:] == []:
        with pytest.raises(InputError, match=r"no run can be compared|one run only"):
            plotted(name, frame)
        return
    with styled(style, width):
        figure, _ = plotted(name, frame)
        figure.draw_without_rendering()
        widths = WIDTHS[width] if width else (STYLES[style].column, STYLES[style].page)
        assert figure.get_size_inches()[0] in widths
        assert figure.get_size_inches()[1] <= STYLES[style].highest
        canvas = figure.bbox
        for axes in figure.axes:
            labels = [
                b for b in boxes(axes.get_yticklabels()) if axes.bbox.y0 < (b.y0 + b.y1) / 2 < axes.bbox.y1
            ]
            assert not any(a.overlaps(b) for a, b in pairwise(labels))
            ticks = [
                b for b in boxes(axes.get_xticklabels()) if axes.bbox.x0 <= (b.x0 + b.x1) / 2 <= axes.bbox.x1
            ]
            assert (
                not any(a.overlaps(b) for a, b in pairwise(ticks)) or axes.get_xticklabels()[0].get_rotation()
            )
            own = boxes([axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts])
            for box in (*own, *ticks, *labels):
                assert (box.x0 >= -1, box.x1 <= canvas.x1 + 1, box.y1 <= canvas.y1 + 1) == (True, True, True)
        for legend in figure.legends:
            box = legend.get_window_extent()
            assert (box.x0 >= -1, box.x1 <= canvas.x1 + 1, box.y1 <= canvas.y1 + 1) == (True, True, True)
            assert not any(box.overlaps(axes.bbox) for axes in figure.axes)


def test_every_figure_is_written_with_its_data(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", summary(systems=("lru", "lfu")))
    written = draw(OWN, folder)
    assert [path.name for path in written] == [
        f"{name}.{form}" for name in OWN for form in ("pdf", "png", "csv")
    ]
    assert sorted(written) == sorted((folder / "figures").iterdir())  # and nothing half-written
    assert (folder / "figures" / "tokens-per-second.pdf").read_bytes().startswith(b"%PDF")


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


def test_a_legend_that_would_be_as_high_as_its_plot_takes_the_page() -> None:
    for systems, width in (("abcdef", STYLES["paper"].column), ("abcdefgh", STYLES["paper"].page)):
        figure, _ = plotted("hit-rate", summary(systems=systems, sizes_gib=(4, 8)))
        assert figure.get_size_inches()[0] == width


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


@pytest.mark.parametrize("name", ["tokens-per-second", "hit-rate", "latency-breakdown", "speed-up"])
@pytest.mark.parametrize(("style", "width"), [("paper", "icml"), ("talk", None)])
def test_what_is_higher_than_a_page_shows_some_and_says_of_how_many(
    name: str, style: str, width: str | None
) -> None:
    frame = summary(systems=[f"{name}-{at}" for at in "abc" for name in LONG])
    with styled(style, width):
        figure, data = plotted(name, frame)
    assert figure.get_size_inches()[1] <= STYLES[style].highest
    said = figure.legends[-1].get_title().get_text().replace("\n", " ")
    drawn = len(figure.axes[0].get_yticklabels())
    assert 6 <= drawn < 36
    assert said == f"Shown: {drawn} of 36, evenly spread from lowest to highest. The CSV has all."
    assert data["system"].nunique() == 36


WIDE = {"models": ("a", "b"), "machines": ("x", "y"), "sizes_gib": (1, 2, 3, 4, 6, 8)}


def test_thirteen_systems_at_six_sizes_in_four_panels_fit_a_page() -> None:
    figure, _ = plotted("tokens-per-second", summary(systems=[*"abcdefghijklm"], **WIDE))
    assert figure.get_size_inches()[1] <= STYLES["paper"].highest
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == [*"abcdefghijklm"]


def test_a_note_stands_below_the_name_of_the_axes() -> None:
    figure, _ = plotted("latency-breakdown", summary(systems=LONG, **WIDE))
    (name,) = figure.findobj(lambda one: isinstance(one, Text) and one.get_text().startswith("ms per "))
    figure.draw_without_rendering()
    note = figure.legends[-1].get_window_extent()
    assert note.y1 <= name.get_window_extent().y1 - 8 / 72 * figure.dpi  # its letters are 8 pt high
    assert name.get_window_extent().y1 <= min(axes.get_tightbbox().y0 for axes in figure.axes)


def test_of_more_panels_than_a_page_has_room_for_the_first_are_shown() -> None:
    figure, data = plotted("hit-rate", summary(systems=LONG[:7], sizes_gib=(4, 8), models=[*"abcdefghijkl"]))
    assert figure.get_size_inches()[1] <= STYLES["paper"].highest
    said = figure.legends[-1].get_title().get_text().replace("\n", " ")
    assert said.startswith(f"Shown: the first {len(figure.axes)} of 12 panels; 6 of 7")
    assert data["model"].nunique() == 12


def test_results_without_decoded_tokens_leave_out_what_is_of_decoding(tmp_path: Path) -> None:
    frame = summary(systems=("lru", "lfu")).assign(miss_penalty=np.nan)
    frame[["tokens_per_second", "dense_ms_per_token"]] = np.nan
    said: dict[str, str] = {}
    names = ("tokens-per-second", "hit-rate", "latency-breakdown", "miss-penalty", "ablation")
    draw(names, results(tmp_path, frame), left_out=lambda name, error: said.update({name: error.what}))
    assert said == dict.fromkeys([name for name in names if name != "hit-rate"], "no run has decoded tokens")


def test_runs_that_only_their_seed_tells_apart_are_averaged(tmp_path: Path) -> None:
    data = shown(results(tmp_path, summary(systems=("random",), seeds=(0, 1, 2))), "tokens-per-second")
    assert data["tokens_per_second"].tolist() == [11.0]
    assert (data["tokens_per_second_min"][0], data["tokens_per_second_max"][0]) == (10, 12)
    assert data["runs_averaged"].tolist() == [3]


def test_what_varies_decides_panels_series_and_sizes() -> None:
    two = group(summary(systems=("lru", "lfu"), sizes_gib=(4, 8), models=("mixtral", "olmoe")))
    assert (two.panels, two.series, two.sizes) == (["mixtral", "olmoe"], ["lru", "lfu"], [4, 8])
    depths = pd.concat([summary(**{"policies.prefetch.depth": depth}) for depth in (1, 3)])
    assert group(depths).series == ["depth 1", "depth 3"]
    named = pd.concat([summary(**{"policies.eviction": f'{{"name": "{name}"}}'}) for name in ("lru", "lfu")])
    assert group(named).series == ["eviction lru", "eviction lfu"]


def test_sizes_that_belong_to_a_model_do_not_stand_for_it() -> None:
    frame = pd.concat([summary(sizes_gib=(4, 8), models=("a",)), summary(sizes_gib=(16, 32), models=("b",))])
    assert group(frame).panels == ["a", "b"]
    figure, _ = plotted("latency-breakdown", frame)
    assert len(figure.axes) == 4


def test_a_size_that_follows_from_the_machine_is_no_axis() -> None:
    frame = pd.concat([summary(sizes_gib=(4,), machines=("a",)), summary(sizes_gib=(8,), machines=("b",))])
    assert group(frame).axis is None


@pytest.mark.parametrize("key", ["memory.gpu_expert_cache.fraction", "memory.gpu_expert_cache"])
def test_a_swept_fraction_is_the_axis(tmp_path: Path, key: str) -> None:
    cells = (0.25, 0.5) if key.endswith("fraction") else ('{"fraction": 0.25}', '{"fraction": 0.5}')
    parts = [summary(sizes_gib=(4 * (i + 1),), **{key: cell}) for i, cell in enumerate(cells)]
    data = shown(results(tmp_path, pd.concat(parts)), "hit-rate")
    assert data["gpu_expert_cache_percent_of_experts"].tolist() == [25, 50]


def test_the_phone_has_no_gpu_cache(tmp_path: Path) -> None:
    frame = summary(sizes_gib=(1, 2))
    frame = frame.rename(
        columns={
            "gpu_expert_cache_bytes": "cpu_expert_cache_bytes",
            "cpu_expert_cache_bytes": "gpu_expert_cache_bytes",
        }
    )
    data = shown(results(tmp_path, frame), "tokens-per-second")
    assert data["cpu_expert_cache_gib"].tolist() == [1, 2]


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


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (results(tmp_path / name, summary(**CASES["systems by size"])) for name in "ab")
    forms = ("pdf", "png", "svg")
    for a, b in zip(draw(OWN, first, forms), draw(OWN, second, forms), strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name


def test_the_readers_own_settings_change_nothing_and_are_kept(tmp_path: Path) -> None:
    import matplotlib as mpl

    path, *_ = draw(["hit-rate"], results(tmp_path, summary()), ("png",))
    plain = path.read_bytes()
    with mpl.rc_context({"font.size": 20, "savefig.bbox": "tight"}):
        draw(["hit-rate"], tmp_path, ("png",))
        assert mpl.rcParams["font.size"] == 20
    assert path.read_bytes() == plain


def test_fonts_are_embedded_as_truetype_and_no_time_is_kept(tmp_path: Path) -> None:
    draw(["hit-rate"], results(tmp_path, summary()))
    content = (tmp_path / "figures" / "hit-rate.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"CreationDate" not in content
    assert b"Software" not in (tmp_path / "figures" / "hit-rate.png").read_bytes()


def test_an_unknown_figure_or_format_is_refused_and_nothing_is_drawn(tmp_path: Path) -> None:
    folder = results(tmp_path, summary())
    with pytest.raises(InputError, match="did you mean 'hit-rate'"):
        draw(["tokens-per-second", "hitrate"], folder)
    with pytest.raises(InputError, match="unknown format"):
        draw(["hit-rate"], folder, ("gif",))
    assert not (tmp_path / "figures").exists()


HEADER = b"system,model,hardware,trace"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "no summary.csv"),
        (b"", "is empty"),
        (b"a,b\n1,2\n", "column 'system' is missing"),
        (HEADER + b"\n", "holds no runs"),
        (b"\xff\xfe\x00", "no CSV table|missing"),
        (HEADER + b"\na,b,c,d\n", "column 'hit_rate' is missing"),
        (
            HEADER + b",tokens_per_second,hit_rate\na,b,c,d,1,high\n",
            "column 'hit_rate' holds more than numbers",
        ),
    ],
)
def test_results_that_are_none_are_refused_in_one_line(
    tmp_path: Path, content: bytes | None, what: str
) -> None:
    if content is not None:
        (tmp_path / "summary.csv").write_bytes(content)
    with pytest.raises(InputError, match=what) as error:
        draw(["hit-rate"], tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "figures").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = results(tmp_path, summary())
    (folder / "figures").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        draw(["hit-rate"], folder)


def test_listing_says_what_each_figure_shows_without_loading_matplotlib() -> None:
    assert [name for name, _ in listing()] == list(FIGURES)
    assert all(line for _, line in listing())
    code = "import sys, simulator.plots; sys.exit(bool({'matplotlib', 'pandas'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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


def test_the_latency_cdf_shows_percentiles_of_the_gaps(tmp_path: Path) -> None:
    frame = summary(systems=("lru", "lfu"))
    data = shown(results(tmp_path, frame), "latency-cdf")
    table = tokens(frame)
    own = table[(table["run"] == 1) & (table["phase"] == "decode")]["latency_ns"] / 1e6
    for mark in (50, 95, 99):
        row = data[(data["system"] == "lfu") & (data["percentile"] == mark)]
        assert row["latency_ms"].item() == pytest.approx(np.percentile(own, mark))
        assert row["decoded_tokens"].item() == 48


@pytest.mark.parametrize(("fold", "scale"), [(30, "log"), (3, "linear")])
def test_a_wide_span_of_latencies_is_logarithmic(fold: int, scale: str) -> None:
    frame = summary(systems=("lru", "lfu"))
    figure, _ = FIGURES["latency-cdf"].plot(frame, tokens(frame, fold))
    assert figure.axes[0].get_xscale() == scale


def test_no_more_curves_are_drawn_than_can_be_told_apart() -> None:
    figure, data = plotted("latency-cdf", summary(systems=LONG))
    looks = {(line.get_linestyle(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(looks) == len(figure.axes[0].lines) == 6
    assert figure.legends[0].get_title().get_text().startswith("6 of 12")
    assert data["system"].nunique() == 12


def test_results_without_decoded_tokens_have_no_latency_cdf() -> None:
    frame = summary()
    prompts = tokens(frame).query("phase == 'prefill'")
    with pytest.raises(InputError, match="no decoded tokens"):
        FIGURES["latency-cdf"].plot(frame, prompts)


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


def test_a_figure_that_the_results_lack_data_for_is_left_out_or_refused(tmp_path: Path) -> None:
    folder = results(tmp_path, summary(systems=("lru", "lfu")))
    (folder / "tokens.parquet").unlink()
    said: list[tuple[str, str]] = []
    written = draw(OWN, folder, ("svg",), left_out=lambda name, error: said.append((name, error.what)))
    assert [path.name for path in written if path.suffix == ".svg"] == [f"{name}.svg" for name in OWN[:3]]
    assert said == [(name, "holds no tokens.parquet") for name in OWN[3:]]
    with pytest.raises(InputError, match=r"holds no tokens.parquet"):
        draw(["hit-rate", "latency-cdf"], folder)


def test_other_styles_stand_beside_that_of_papers(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", summary(systems=("lru", "lfu")))
    out = tmp_path / "elsewhere" / "figures"
    for style in STYLES:
        draw(["hit-rate"], folder, ("png",), style, out=out)
    names = ["hit-rate.png", "hit-rate-talk.png", "hit-rate-notebook.png", "hit-rate.csv"]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert not (folder / "figures").exists()


def test_letters_of_a_talk_are_large_enough() -> None:
    with styled("talk"):
        figure, _ = plotted("speed-up", summary(systems=("lru", "lfu")))
        texts = [text for text in figure.findobj(lambda one: hasattr(one, "get_fontsize")) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 16


@pytest.mark.parametrize(
    ("style", "width", "what"),
    [
        ("tlak", None, "unknown style.*did you mean 'talk'"),
        ("paper", "acmm", "unknown width.*did you mean 'acm'"),
        ("talk", "ieee", "is a paper's"),
    ],
)
def test_an_unknown_style_or_width_is_refused(
    tmp_path: Path, style: str, width: str | None, what: str
) -> None:
    with pytest.raises(InputError, match=what):
        draw(["hit-rate"], results(tmp_path, summary()), ("png",), style, width)
    assert not (tmp_path / "figures").exists()


def test_names_are_letters_and_no_formulas_and_stay_text_in_svg(tmp_path: Path) -> None:
    folder = results(tmp_path, summary(systems=("a $x^{ b$ name", "100 % <of> it & more")))
    draw(OWN, folder, ("svg", "pdf"))
    text = (folder / "figures" / "speed-up.svg").read_text()
    assert "a $x^{ b$ name" in text
    assert "100 % &lt;of&gt; it" in text
