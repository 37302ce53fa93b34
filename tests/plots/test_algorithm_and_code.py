"""The algorithm and the code: what each makes of a lead, by hand; and what a sweep must have for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulator.errors import InputError
from simulator.plots import algorithm_and_code, draw
from tests.plots.speeds import summary

pytestmark = pytest.mark.usefixtures("in_the_style_of_papers")

TIMES = "\N{MULTIPLICATION SIGN}"
Run = tuple[str, str, float]
SWEPT: tuple[Run, ...] = (
    ("old", "eager", 2.0),
    ("new", "fast", 12.0),
    ("plain", "ideal", 10.0),  # names no software: its own is the common one
    ("old", "ideal", 10.0),
    ("new", "ideal", 15.0),
)


def table(runs: Sequence[Run] = SWEPT, **more: object) -> pd.DataFrame:
    """Return a summary of runs by system, software and tokens per second."""
    frame = summary(systems=[system for system, _, _ in runs], **more)  # type: ignore[arg-type]
    each = len(frame) // len(runs)
    frame["software"] = np.repeat([software for _, software, _ in runs], each)
    frame["tokens_per_second"] = np.repeat([speed for _, _, speed in runs], each)
    return frame


def test_a_lead_is_the_algorithms_times_the_codes() -> None:
    figure, data = algorithm_and_code.plot(table())
    found = data.set_index("system")
    # In their own software new is 6 times as fast as old, in the same software 1.5 times: the code adds 4.
    expected = {"old": (1, 1, 1), "new": (6, 1.5, 4), "plain": (5, 1, 5)}
    for system, factors in expected.items():
        columns = ["speed_up", "speed_up_same_software", "speed_up_of_code"]
        assert list(found.loc[system, columns]) == pytest.approx(factors)
    assert dict(found["software"]) == {"old": "eager", "new": "fast", "plain": "ideal"}
    assert set(found["common_software"]) == {"ideal"}
    assert set(found["baseline"]) == {"old"}
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "old\nin eager",
        "new\nin fast",
        "plain\nin ideal",
    ]
    said = [text.get_text().strip() for text in figure.axes[0].texts]
    assert said == [
        f"{both} = {algorithm} {TIMES} {code}"
        for both, algorithm, code in (
            ("1.00", "1.00", "1.00"),
            ("6.00", "1.50", "4.00"),
            ("5.00", "1.00", "5.00"),
        )
    ]


def test_bars_add_up_where_both_go_one_way_and_begin_at_1_where_not() -> None:
    own, same = [("a", "x", 10.0), ("b", "y", 40.0), ("c", "z", 5.0)], {"a": 10.0, "b": 20.0, "c": 20.0}
    runs = [*own, *((system, "ideal", speed) for system, speed in same.items())]
    figure, _ = algorithm_and_code.plot(table(runs))
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in figure.axes[0].patches]
    assert ends[2:] == [
        pytest.approx(one) for one in [(1, 2), (2, 4), (1, 2), (0.25, 1)]
    ]  # b: 2 x 2; c: 2 x 1/4


def test_any_system_may_be_the_baseline() -> None:
    found = algorithm_and_code.plot(table(), "new")[1].set_index("system")
    assert found.loc["old", "speed_up"] == pytest.approx(1 / 6)
    assert found.loc["old", "speed_up_of_code"] == pytest.approx(1 / 4)
    with pytest.raises(InputError, match="no run is of 'newer'"):
        algorithm_and_code.plot(table(), "newer")


def test_seeds_are_averaged_and_sizes_have_panels() -> None:
    figure, data = algorithm_and_code.plot(table(sizes_gib=(4, 8), seeds=(0, 1)))
    assert len(figure.axes) == 2
    assert len(data) == 6
    assert set(data["runs_averaged"]) == {2}
    assert set(data.loc[data["system"] == "new", "speed_up"].round(9)) == {6.0}


@pytest.mark.parametrize(
    ("runs", "what"),
    [
        ([("a", "ideal", 1.0), ("b", "ideal", 2.0)], "every run is in software ideal"),
        (SWEPT[:3], "no run of 'old' in software ideal"),
        ([("a", "x", 1.0), ("b", "y", 2.0)], "no run of 'b' in software x"),
        ([*SWEPT, ("new", "third", 1.0)], "'new' has runs in fast and third beside ideal"),
    ],
)
def test_a_sweep_that_lacks_a_side_is_told_what_to_sweep(runs: list[Run], what: str) -> None:
    with pytest.raises(InputError) as error:
        algorithm_and_code.plot(table(runs))
    assert what in str(error.value)
    assert "sweep" in error.value.hint
    assert "\n" not in str(error.value)


def test_ideal_is_the_common_software_where_several_are() -> None:
    runs = [(system, software, 1.0) for software in ("x", "ideal") for system in ("a", "b")]
    assert set(algorithm_and_code.plot(table(runs))[1]["common_software"]) == {"ideal"}


def test_it_is_drawn_into_a_folder_with_its_data(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "summary.csv", index=False)
    names = {path.name for path in draw(["algorithm-and-code"], tmp_path, baseline="old")}
    assert names == {f"algorithm-and-code.{form}" for form in ("pdf", "png", "csv")}
