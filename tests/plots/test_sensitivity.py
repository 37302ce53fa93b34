"""One key at a time: each is compared with its first value."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from simulator.errors import InputError
from simulator.plots import sensitivity
from tests.plots.details import GIB, summary

pytestmark = pytest.mark.usefixtures("in_the_style_of_papers")


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
