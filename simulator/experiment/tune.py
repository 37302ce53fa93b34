"""The section ``tune`` of an experiment: which settings are searched, for what, and on which sequences."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, model_validator

Number = StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)]
MOST_STEPS = 1_000_000
Names = Annotated[tuple[str, ...], Field(min_length=2)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _given(*keys: str) -> dict[str, Any]:
    """Return the JSON Schema of mappings that have these keys, and not empty."""
    return {"required": [*keys], "properties": {key: {"not": {"type": "null"}} for key in keys}}


class Parameter(_Strict):
    """The values that a setting may take: ``low`` to ``high``, one of ``choices``, or ``shares`` of one.

    Between whole numbers, whole ones are tried. ``shares`` names numbers below the setting that add up to 1.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [_given("low", "high"), _given("choices"), _given("shares")]}
    )

    low: Number | None = None
    high: Number | None = None
    step: Annotated[Number, Field(gt=0)] | None = None
    log: StrictBool = False
    choices: Annotated[tuple[Any, ...], Field(min_length=2)] | None = None
    shares: Names | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        """Refuse a parameter that is not exactly one of the three kinds, or whose range holds nothing."""
        in_range = (self.low, self.high, self.step, self.log or None)
        kinds = [any(one is not None for one in in_range), self.choices is not None, self.shares is not None]
        if kinds.count(True) != 1:
            raise ValueError("give low and high, or choices, or shares")
        for several in (self.choices, self.shares):
            if several is not None and any(several.count(one) > 1 for one in several):
                raise ValueError("a value twice; each once")
        if kinds[0]:
            self._check_range()
        return self

    def _check_range(self) -> None:
        if self.low is None or self.high is None:
            raise ValueError("a range has two ends; give low and high")
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}; exchange them")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs a low above 0, and takes no step")
        if self.step is not None and (self.high - self.low) / self.step > MOST_STEPS:
            raise ValueError(f"more than {MOST_STEPS:,} steps; take a larger one")
        if self.step is not None and _exact(self.high - self.low) % _exact(self.step):
            raise ValueError(f"high {self.high} is not reached from low {self.low} in steps of {self.step}")


def _exact(number: float) -> Decimal:
    """Return what was written: 1.0 - 0.9 is 0.1 here."""
    return Decimal(f"{number:.12g}")


class Tune(_Strict):
    """A search for the values of some settings that make one column of the summary best.

    Every run of the sweep counts alike. ``held_out`` of the sequences take no part in the search; ``trials``
    combinations are tried beside the experiment as it is.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [_given("maximise"), _given("minimise")]},
    )

    parameters: Annotated[dict[str, Parameter], Field(min_length=1)]
    maximise: str | None = None
    minimise: str | None = None
    held_out: Annotated[float, Field(gt=0, lt=1, strict=True)] = 0.5
    trials: Annotated[int, Field(gt=0, strict=True)] = 100
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0

    @model_validator(mode="after")
    def _has_one_aim(self) -> Self:
        if (self.maximise is None) == (self.minimise is None):
            raise ValueError("give maximise or minimise; it names a column of summary.csv")
        return self

    @property
    def metric(self) -> str:
        """Return the column that is to be best."""
        return str(self.maximise or self.minimise)
