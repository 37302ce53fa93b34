"""Parts of a system, one after another: steps add up to the last variant."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.plots import ablation
from tests.plots.details import steps, summary

pytestmark = pytest.mark.usefixtures("in_the_style_of_papers")


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
