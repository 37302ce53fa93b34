"""The space of a search: from what a sampler draws to settings of an experiment, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from simulator.experiment.tune import Parameter

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DIGITS = 6
SHARE_DIGITS = 4

Values = dict[str, Any]
"""Settings by dotted key."""


class Space:
    """What is searched: ``parameters`` as given, and the ``settings`` that they reach."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = parameters
        self.settings = {
            setting: key for key, parameter in parameters.items() for setting in _settings(key, parameter)
        }

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return what the sampler draws from, by setting: numbers, or places among the choices."""
        return {setting: _distribution(self.parameters[key]) for setting, key in self.settings.items()}

    def values(self, drawn: Mapping[str, Any]) -> Values:
        """Return the settings that a draw stands for; numbers have six digits, shares four decimals."""
        found: Values = {}
        for key, parameter in self.parameters.items():
            if parameter.shares is not None:
                found |= _shares({setting: drawn[setting] for setting in _settings(key, parameter)})
            elif parameter.choices is not None:
                found[key] = parameter.choices[drawn[key]]
            else:
                found[key] = _rounded(drawn[key], parameter)
        return found

    def drawn(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a draw that stands for these settings; None where one is missing or no choice."""
        found = {}
        for setting, key in self.settings.items():
            choices = self.parameters[key].choices
            if setting not in values or (choices is not None and values[setting] not in choices):
                return None
            found[setting] = values[setting] if choices is None else choices.index(values[setting])
        return found

    def extremes(self) -> Iterable[tuple[str, Values]]:
        """Return each parameter's key with the values that it takes at its ends, on its own."""
        for key, parameter in self.parameters.items():
            if parameter.shares is not None:
                yield key, _shares(dict.fromkeys(_settings(key, parameter), 1.0))
            else:
                for value in parameter.choices or (parameter.low, parameter.high):
                    yield key, {key: value}


def _settings(key: str, parameter: Parameter) -> list[str]:
    return [f"{key}.{name}" for name in parameter.shares] if parameter.shares else [key]


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.shares is not None:
        return FloatDistribution(0, 1)
    if parameter.choices is not None:
        return CategoricalDistribution(range(len(parameter.choices)))
    low, high, step = parameter.low, parameter.high, parameter.step
    assert low is not None
    assert high is not None
    if isinstance(low, int) and isinstance(high, int) and not isinstance(step, float):
        return IntDistribution(low, high, log=parameter.log, step=step or 1)
    return FloatDistribution(low, high, log=parameter.log, step=step)


def _rounded(number: float, parameter: Parameter) -> float:
    """Return a number with six digits, within its range."""
    assert parameter.low is not None
    assert parameter.high is not None
    if isinstance(number, int):
        return number
    return min(max(float(f"{number:.{DIGITS}g}"), parameter.low), parameter.high)


def _shares(drawn: Mapping[str, float]) -> dict[str, float]:
    """Divide numbers by their sum; the largest takes what rounding leaves, so that they add up to 1."""
    total = sum(drawn.values())
    shares = {
        setting: round(number / total if total else 1 / len(drawn), SHARE_DIGITS)
        for setting, number in drawn.items()
    }
    largest = max(shares, key=lambda setting: shares[setting])
    rest = sum(share for setting, share in shares.items() if setting != largest)
    return shares | {largest: round(1 - rest, SHARE_DIGITS)}
