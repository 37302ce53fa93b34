"""Figures are drawn from results alone, the same bytes each time, with the data that they show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from simulator.errors import InputError
from simulator.plots import FIGURES, draw, listing

GIB = 1 << 30


def results(
    folder: Path,
    systems: Sequence[str] = ("lru",),
    sizes_gib: Sequence[float] = (4,),
    models: Sequence[str] = ("mixtral-8x7b",),
    seeds: Sequence[int] = (0,),
) -> Path:
    """Write a results folder with one run for each combination; figures of a run follow from its place."""
    rows = []
    for n, (model, system, size, seed) in enumerate(product(models, systems, sizes_gib, seeds)):
        rows.append(
            {
                "run": n,
                "experiment": "test",
                "system": system,
                "model": model,
                "hardware": "rtx4090-pcie4",
                "trace": f"{model}-trace",
                "seed": seed,
                "gpu_expert_cache_bytes": int(size * GIB),
                "cpu_expert_cache_bytes": "",
                "tokens_per_second": 10 + n,
                "hit_rate": 0.5 + n / 100,
                "late_rate": 0.0,
                "belady_hit_rate": "" if system == "no-bound" else 0.9,
                "dense_ms_per_token": 2.0,
                "expert_compute_ms_per_token": 3.0,
                "cpu_expert_wait_ms_per_token": 0.0,
                "stall_cpu_to_gpu_ms_per_token": 20.0 - n / 10,
                "overhead_ms_per_token": 0.5,
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "summary.csv", index=False)
    return folder


CASES = {
    "one run": {},
    "systems by size": {"systems": ("lru", "lfu", "hobbit"), "sizes_gib": (4, 8, 12, 16)},
    "two models": {"systems": ("lru", "lfu"), "sizes_gib": (4, 8), "models": ("mixtral-8x7b", "olmoe-1b-7b")},
    "systems alone": {"systems": tuple(f"a-system-with-a-long-name-{i}" for i in range(12))},
    "seeds": {"systems": ("random", "lru"), "sizes_gib": (4, 8), "seeds": (0, 1, 2)},
    "no bound": {"systems": ("no-bound",), "sizes_gib": (4,)},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_figure_is_drawn_with_its_data(tmp_path: Path, case: dict[str, Sequence[str]]) -> None:
    folder = results(tmp_path / "r", **case)  # type: ignore[arg-type]
    written = draw(list(FIGURES), folder)
    assert [path.name for path in written] == [
        f"{name}.{form}" for name in FIGURES for form in ("pdf", "png", "csv")
    ]
    assert all(path.parent == folder / "figures" and path.stat().st_size > 0 for path in written)
    assert (folder / "figures" / "tokens-per-second.pdf").read_bytes().startswith(b"%PDF")


def test_the_data_beside_a_figure_is_that_of_the_summary(tmp_path: Path) -> None:
    folder = results(tmp_path, systems=("lru", "lfu"), sizes_gib=(8, 4))
    draw(["tokens-per-second"], folder)
    shown = pd.read_csv(folder / "figures" / "tokens-per-second.csv")
    summary = pd.read_csv(folder / "summary.csv")
    for _, row in summary.iterrows():
        here = (shown["system"] == row["system"]) & (
            shown["cache_gib"] == row["gpu_expert_cache_bytes"] / GIB
        )
        assert shown.loc[here, "tokens_per_second"].tolist() == [row["tokens_per_second"]]
    assert len(shown) == len(summary)


def test_runs_that_only_their_seed_tells_apart_are_averaged(tmp_path: Path) -> None:
    folder = results(tmp_path, systems=("random",), seeds=(0, 1, 2))
    draw(["tokens-per-second"], folder)
    shown = pd.read_csv(folder / "figures" / "tokens-per-second.csv")
    assert shown["tokens_per_second"].tolist() == [11.0]
    assert (shown["tokens_per_second_min"][0], shown["tokens_per_second_max"][0]) == (10, 12)
    assert shown["runs_averaged"].tolist() == [3]


def test_the_labels_of_a_breakdown_are_those_that_took_time(tmp_path: Path) -> None:
    folder = results(tmp_path)
    draw(["latency-breakdown"], folder)
    shown = pd.read_csv(folder / "figures" / "latency-breakdown.csv")
    assert "cpu_expert_wait_ms_per_token" not in shown
    assert shown["stall_cpu_to_gpu_ms_per_token"].tolist() == [20.0]


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (results(tmp_path / name, **CASES["systems by size"]) for name in "ab")  # type: ignore[arg-type]
    for a, b in zip(
        draw(list(FIGURES), first, ("pdf", "png", "svg")),
        draw(list(FIGURES), second, ("pdf", "png", "svg")),
        strict=True,
    ):
        assert a.read_bytes() == b.read_bytes(), a.name


def test_fonts_are_embedded_as_truetype(tmp_path: Path) -> None:
    draw(["hit-rate"], results(tmp_path))
    assert b"/Type3" not in (tmp_path / "figures" / "hit-rate.pdf").read_bytes()


def test_an_unknown_figure_is_refused_and_nothing_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'hit-rate'"):
        draw(["tokens-per-second", "hitrate"], results(tmp_path))
    assert not (tmp_path / "figures").exists()


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown format"):
        draw(["hit-rate"], results(tmp_path), ("gif",))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "no summary.csv"),
        (b"", "is empty"),
        (b"a,b\n1,2\n", "column 'system' is missing"),
        (b"system,model,hardware,trace\n", "holds no runs"),
        (b"\xff\xfe\x00", "no CSV table|missing"),
        (b"system,model,hardware,trace\na,b,c,d\n", "column 'hit_rate' is missing"),
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


def test_listing_says_what_each_figure_shows() -> None:
    assert [name for name, _ in listing()] == list(FIGURES)
    assert all(line for _, line in listing())
