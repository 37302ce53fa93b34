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
from simulator.trace.synth.generate import synthesise
from simulator.trace.synth.joint import fit_jointly
from simulator.trace.synth.levers import LEVERS, Target
from simulator.trace.synth.like import joined
from simulator.trace.synth.parameters import Parameters
from simulator.trace.synth.shape import header_of
from simulator.trace.synth.sized import KINDS, measure_sized, parse
from simulator.trace.synth.statistics import Floats, measure

CHECKED = ("low_share",)
NAMES = tuple(name for lever in LEVERS for name in lever.rise + lever.fall) + CHECKED


class Published(BaseModel):
    """One number: of an MoE layer (counted from 0), or of the mean over layers.

    ``fit: false`` says that it is only compared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    statistic: str
    layer: Annotated[int, Field(ge=0)] | None = None
    value: Annotated[float, Field(ge=0, le=1)]
    source: str
    fit: bool = True


class Lengths(BaseModel):
    """The sequences that were counted, and that a fit draws."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sequences: Annotated[int, Field(gt=0)] = 16
    prefill: Annotated[int, Field(ge=0)] = 0
    decode: Annotated[int, Field(gt=0)] = 512


class PublishedStatistics(BaseModel):
    """A model, what was published of its routing, and the parameters that nothing published decides.

    ``fitted`` are the parameters that a fit has found, where it need not be made again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    notes: str = ""
    statistics: Annotated[tuple[Published, ...], Field(min_length=1, max_length=4096)]
    counted_on: Lengths = Lengths()
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
    """Return the fit, made on the sequences that were counted, and what it is held against.

    Errors: InputError.
    """
    header = header_of(published.assumed)
    targets = [_target(number, header, f"{where}: {number.statistic}") for number in published.statistics]
    fitted = [t for t, number in zip(targets, published.statistics, strict=True) if number.fit]
    lengths = published.counted_on.model_dump()
    start = published.assumed.model_copy(update={**lengths, "seed": seed, "predictions": ()})
    sized = [target.statistic for target in targets if parse(target.statistic)]
    others = len(sized) < len(targets)

    def measured(parameters: Parameters) -> dict[str, Floats]:
        drawn = joined(synthesise(parameters, header))
        return (measure(drawn) if others else {}) | measure_sized(drawn, sized)

    search = fit_jointly if any(parse(target.statistic) for target in fitted) else fit
    found = search(start, header.n_layers, fitted, measured)
    kept = {name: getattr(published.assumed, name) for name in (*lengths, "predictions")}
    return Fit(found.parameters.model_copy(update=kept), found.statistics), targets


def _target(number: Published, header: TraceHeader, where: str) -> Target:
    """Check a published number against what can be measured."""
    sized = parse(number.statistic)
    if sized is None and number.statistic not in NAMES:
        sizes = [f"{kind}_N" for kind in KINDS]
        raise InputError(where, "unknown statistic", did_you_mean(number.statistic, [*NAMES, *sizes]))
    if sized and sized[0] != "within" and sized[1] > header.n_experts:
        raise InputError(where, f"{sized[1]} experts", f"at most {header.n_experts}, those of a layer")
    by_layer = not number.statistic.startswith(("weight_", *("high", "low", "skip")))
    if number.layer is not None and not (by_layer and number.layer < header.n_layers):
        last = header.n_layers - 1
        hint = f"0 to {last}, or none: the mean" if by_layer else "none: it is of all layers together"
        raise InputError(where, f"layer {number.layer}", hint)
    return Target(number.statistic, number.value, number.layer, number.source)
