"""A file of rows: where numbers come from, what they have in common, and each of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from simulator.errors import did_you_mean
from simulator.experiment.points import NOT_SWEPT
from simulator.validate.rows.quantities import QUANTITIES, RATIO, SHARE

Settings = dict[str, Any]
"""Keys of an experiment, dotted or not, with their values, as ``--set`` has them; ``routing`` is one more."""


def _settings(given: Settings) -> Settings:
    for key in given:
        if key.startswith("routing."):
            raise ValueError(f"{key} is no setting; routing is a name or a path")
        if key.partition(".")[0] in NOT_SWEPT:
            raise ValueError(f"{key} is no setting of one run; {NOT_SWEPT[key.partition('.')[0]]}")
    return given


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Source(_Strict):
    """Who published the numbers: title, where they stand in general, and an address."""

    title: Annotated[str, Field(min_length=1)]
    where: str = ""
    address: Annotated[str, Field(min_length=1)]


class Over(_Strict):
    """The other side of a ratio: its settings over those that the file's rows have in common."""

    set: Settings = {}

    _is_setting = field_validator("set")(_settings)


class Row(_Strict):
    """One number; with ``over`` a ratio of two runs, this one's quantity over the other's.

    ``warm`` is how many decoding passes come before those that count. Rows of one ``ordering`` that are about
    the same quantity must be in the published order. ``why`` says what is in the way of a row that is off.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    quantity: str
    value: Annotated[float, Field(gt=0, strict=True)]
    unit: str
    where: Annotated[str, Field(min_length=1)]
    set: Settings = {}
    over: Over | None = None
    warm: Annotated[int, Field(ge=0, strict=True)] = 0
    ordering: str | None = None
    assumed: tuple[str, ...] = ()
    why: str = ""

    _is_setting = field_validator("set")(_settings)

    @field_validator("quantity")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in QUANTITIES:
            raise ValueError(f"unknown quantity; {did_you_mean(name, QUANTITIES)}")
        return name

    @model_validator(mode="after")
    def _is_in_its_unit(self) -> Row:
        unit = RATIO if self.over else QUANTITIES[self.quantity][0]
        if self.unit != unit:
            what = f"a ratio of {self.quantity}" if self.over else self.quantity
            raise ValueError(f"unit {self.unit} for {what}; it is in {unit}")
        if self.unit == SHARE and self.value > 1:
            raise ValueError(f"value {self.value:g} is no share; 0.887 for 88.7 %")
        return self

    @property
    def kind(self) -> str:
        """Return what the row is about, in words."""
        words = QUANTITIES[self.quantity][1]
        return f"{words}, ratio" if self.over else words


class RowFile(_Strict):
    """Rows of one source; ``common`` settings lie under those of each row, ``assumed`` holds for all."""

    source: Source
    notes: str = ""
    assumed: tuple[str, ...] = ()
    common: Settings = {}
    rows: tuple[Row, ...]

    _is_setting = field_validator("common")(_settings)

    @model_validator(mode="after")
    def _has_rows(self) -> RowFile:
        if not self.rows:
            raise ValueError("rows is empty; one row or more")
        return self
