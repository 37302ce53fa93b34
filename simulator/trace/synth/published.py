"""Published statistics of a model whose traces are not public, and parameters that reproduce them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from simulator import data
from simulator.config.paths import anchored
from simulator.config.yaml_file import read_yaml
from simulator.errors import InputError, did_you_mean
from simulator.trace.core import TraceHeader
from simulator.trace.synth.fit import Fit, fit
from simulator.trace.synth.levers import LEVERS, Target
from simulator.trace.synth.like import measure_drawn
from simulator.trace.synth.parameters import Parameters
from simulator.trace.synth.shape import header_of

FIT_LENGTHS = {"sequences": 16, "prefill": 0, "decode": 512}
CHECKED = ("low_share",)
NAMES = tuple(name for lever in LEVERS for name in lever.rise + lever.fall) + CHECKED


class Published(BaseModel):
    """One number: of an MoE layer (counted from 0), or of the mean over layers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    statistic: str
    layer: Annotated[int, Field(ge=0)] | None = None
    value: Annotated[float, Field(ge=0, le=1)]
    source: str


class PublishedStatistics(BaseModel):
    """A model, what was published of its routing, and the parameters that nothing published decides.

    ``fitted`` are the parameters that a fit has found, where it need not be made again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    notes: str = ""
    statistics: Annotated[tuple[Published, ...], Field(min_length=1, max_length=4096)]
    assumed: Parameters
    fitted: Parameters | None = None


def load_published(name_or_path: str) -> tuple[PublishedStatistics, Path]:
    """Return a file of statistics, by path or by its name in traces/statistics. Errors: InputError."""
    folder = data.folder("traces") / "statistics"
    path = Path(name_or_path)
    if "/" not in name_or_path and path.suffix not in {".yaml", ".yml"}:
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        if name_or_path not in names:
            hint = f"{did_you_mean(name_or_path, names)} (or a path)"
            raise InputError(name_or_path, "unknown statistics", hint)
        path = folder / f"{name_or_path}.yaml"
    document = read_yaml(path)
    found = {
        key: anchored(value, path.parent) if key in {"assumed", "fitted"} else value
        for key, value in document.data.items()
    }
    return replace(document, data=found).validate(PublishedStatistics), path


def fit_to_published(published: PublishedStatistics, where: str, seed: int) -> tuple[Fit, list[Target]]:
    """Return the fit, made on 16 sequences of 512 tokens, and what it was fitted to. Errors: InputError."""
    header = header_of(published.assumed)
    targets = [_target(number, header, f"{where}: {number.statistic}") for number in published.statistics]
    start = published.assumed.model_copy(update={**FIT_LENGTHS, "seed": seed, "predictions": ()})
    found = fit(start, header.n_layers, targets, lambda p: measure_drawn(p, header))
    kept = {name: getattr(published.assumed, name) for name in (*FIT_LENGTHS, "predictions")}
    return Fit(found.parameters.model_copy(update=kept), found.statistics), targets


def _target(number: Published, header: TraceHeader, where: str) -> Target:
    """Check a published number against what can be measured."""
    if number.statistic not in NAMES:
        raise InputError(where, "unknown statistic", did_you_mean(number.statistic, NAMES))
    by_layer = not number.statistic.startswith(("weight_", *("high", "low", "skip")))
    if number.layer is not None and not (by_layer and number.layer < header.n_layers):
        last = header.n_layers - 1
        hint = f"0 to {last}, or none: the mean" if by_layer else "none: it is of all layers together"
        raise InputError(where, f"layer {number.layer}", hint)
    return Target(number.statistic, number.value, number.layer, number.source)
