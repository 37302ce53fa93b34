"""What is an axis, a panel or a series: whatever varies between runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from simulator.analysis.groups import group
from tests.plots.speeds import plotted, results, shown, summary


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
