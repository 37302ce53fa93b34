"""Rows and stand-ins that are shipped name what there is; stand-ins have the statistics that they state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator import data
from simulator.machine.find import load_machine
from simulator.model.load import load_model
from simulator.trace.synth.generate import synthesise
from simulator.trace.synth.like import joined
from simulator.trace.synth.published import load_published
from simulator.trace.synth.shape import header_of
from simulator.trace.synth.sized import measure_sized
from simulator.validate.rows.load import load_rows, shipped
from simulator.validate.rows.routing import routing_names

ROWS = load_rows(shipped("measured"))
ROUTING: Path = data.folder("validation") / "routing"


def settings(one: Any) -> list[dict[str, Any]]:
    """Return the settings of a row's runs."""
    sets = [one.row.set, *([one.row.over.set] if one.row.over else [])]
    return [one.file.common | given for given in sets]


def test_there_are_rows_of_every_kind() -> None:
    assert len(ROWS) >= 100
    assert {one.row.quantity for one in ROWS} >= {
        "decode_tokens_per_second",
        "prompt_tokens_per_second",
        "hit_rate",
        "seconds_per_token",
        "waiting_share",
    }


@pytest.mark.parametrize("one", ROWS, ids=[one.row.id for one in ROWS])
def test_a_row_names_a_model_a_machine_and_a_routing_of_its_shape(one: Any) -> None:
    for given in settings(one):
        load_machine(given["hardware"])
        assert given["routing"] in routing_names()
        published, _ = load_published(str(ROUTING / f"{given['routing']}.yaml"))
        assert published.assumed.model == given["model"]


@pytest.mark.parametrize("name", routing_names())
def test_a_stand_in_is_fitted_and_says_whose_statistics_it_has(name: str) -> None:
    published, _ = load_published(str(ROUTING / f"{name}.yaml"))
    assert published.fitted is not None
    load_model(str(published.fitted.model))
    for key in ("model", "sequences", "prefill", "decode", "predictions", "seed"):
        assert getattr(published.fitted, key) == getattr(published.assumed, key), key


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "glm-5.2", "gemma-4-26b-a4b"])
def test_a_stand_in_has_its_statistics(name: str) -> None:
    """The hit rates that the source publishes, within three points."""
    published, _ = load_published(str(ROUTING / f"{name}.yaml"))
    assert published.fitted is not None
    parameters = published.fitted.model_copy(update=published.counted_on.model_dump())
    drawn = joined(synthesise(parameters, header_of(parameters)))
    for number in published.statistics:
        if number.fit:
            found = measure_sized(drawn, [number.statistic])[number.statistic].mean()
            assert found == pytest.approx(number.value, abs=0.03), number.statistic
