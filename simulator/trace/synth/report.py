"""How well a synthetic trace reproduces what it was fitted to: a row a statistic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import yaml

from simulator.config.paths import relative_to
from simulator.config.yaml_scalars import Dumper
from simulator.trace.synth.levers import Target
from simulator.trace.synth.parameters import Parameters
from simulator.trace.synth.sized import describe_sized, parse
from simulator.trace.synth.statistics import Floats, describe


@dataclass(frozen=True, slots=True)
class Row:
    """A statistic, what it is to be, and what it is; ``worst_layer`` is the largest difference of a layer."""

    statistic: str
    meaning: str
    layer: int | None
    real: float
    synthetic: float
    difference: float
    worst_layer: float | None


def compare_traces(real: dict[str, Floats], synthetic: dict[str, Floats]) -> list[Row]:
    """Return a row for every statistic that both have, means over layers."""
    rows = []
    for name, values in real.items():
        both = np.isfinite(values) & np.isfinite(synthetic[name])
        if both.any():
            one, two = values[both], synthetic[name][both]
            worst = float(np.abs(two - one).max()) if len(values) > 1 else None
            rows.append(_row(name, None, float(one.mean()), float(two.mean()), worst))
    return rows


def compare_targets(targets: Sequence[Target], synthetic: dict[str, Floats]) -> list[Row]:
    """Return a row for every published number."""
    return [_row(t.statistic, t.layer, t.value, t.found(synthetic), None) for t in targets]


def as_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV, six decimals."""
    lines = [",".join(field.name for field in fields(Row))]
    lines += [",".join(_cell(value) for value in astuple(row)) for row in rows]
    return "\n".join(lines) + "\n"


def as_yaml(parameters: Parameters, folder: Path) -> str:
    """Return parameters as a file in ``folder`` that ``--params`` reads."""
    data = relative_to(parameters.model_dump(mode="json", exclude_none=True), folder)
    text: str = yaml.dump(data, Dumper=Dumper, sort_keys=False, default_flow_style=None, width=100)
    return text


def _row(name: str, layer: int | None, real: float, synthetic: float, worst: float | None) -> Row:
    sized = parse(name)
    meaning = describe_sized(*sized) if sized else describe(name)
    return Row(name, meaning, layer, real, synthetic, synthetic - real, worst)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    text = "" if value is None else str(value)
    return f'"{text}"' if "," in text else text
