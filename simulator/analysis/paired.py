"""Ratios of sums over sequences, with intervals from resampling the sequences.

Speed-up, tokens per second and hit rate are all such ratios. Runs that replayed the same sequences are
compared pairwise: a resample draws the same sequences for numerator and denominator. Sequences that share
passes are drawn together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import mul
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from simulator.analysis.tables import need_integers
from simulator.analysis.units import across, sharing

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

RESAMPLES, SEED, LEVEL = 10_000, 20_231, 0.95
FEWEST = 4
"""Independent units that an interval needs: of three, it is more than four standard errors wide each way."""
INTEGERS = ("run", "pass", "sequence", "tokens", "latency_ns", "lookups", "hits")
AT_ONCE = 1 << 22  # drawn indices that are held in memory
NAN = float("nan")
APART, SHARED = "no sequence in common", "sequences share their passes"
# Of Student's t in powers of 1 / degrees of freedom: a divisor, and the factors of z, z^3, ..., z^9.
EXPANSION = (
    (4, (1, 1, 0, 0, 0)),
    (96, (3, 16, 5, 0, 0)),
    (384, (-15, 17, 19, 3, 0)),
    (92_160, (-945, -1920, 1482, 776, 79)),
)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate over ``sequences`` sequences with its 95 % interval; NaN without one, and ``why``."""

    value: float
    low: float
    high: float
    sequences: int
    why: str = ""


def per_sequence(tokens: pd.DataFrame) -> pd.DataFrame:
    """Return a row per (run, sequence): ``decode_ns``, ``decoded_tokens``, ``lookups``, ``hits``, ``unit``.

    A pass of a batch is divided evenly among its decoding sequences (what it counted, among all of its
    sequences), to whole units that add up. So sums over sequences count each pass once, and the time of a
    sequence is its part of the machine's, not what its user waits. Sequences of a run that share passes have
    the same ``unit``. Errors: InputError where a column is missing or no number.
    """
    need_integers(tokens, INTEGERS, "tokens.parquet")
    counts = tokens[["run", "sequence"]].assign(
        **{name: _divided(tokens, name) for name in ("lookups", "hits")}
    )
    decoded = tokens[tokens["phase"] == "decode"]
    spent = decoded[["run", "sequence"]].assign(
        decode_ns=_divided(decoded, "latency_ns"), decoded_tokens=decoded["tokens"]
    )
    by = ["run", "sequence"]
    joined = spent.groupby(by).sum().join(counts.groupby(by).sum(), how="outer")
    joined["unit"] = sharing(tokens[["run", "pass", "sequence"]]).set_index(by)["unit"]
    return joined.fillna(0).astype("int64").sort_index()


def _divided(rows: pd.DataFrame, column: str) -> pd.Series[int]:
    """Return each row's part of what all rows of a pass repeat."""
    passes = rows.groupby(["run", "pass"])
    n, i, whole = passes["sequence"].transform("size"), passes.cumcount(), rows[column]
    return whole * (i + 1) // n - whole * i // n


def speed_up(sums: pd.DataFrame, own: Sequence[int], baseline: Sequence[int]) -> Interval:
    """Return the decode time of the baseline's runs over that of ``own``, on the sequences that all decoded.

    ``sums`` is of ``per_sequence``; runs that only their seed tells apart are summed up by sequence. A
    sequence counts where every run decoded as many tokens of it.
    """
    runs = list(dict.fromkeys([*own, *baseline]))
    decoded = _by_run(sums, "decoded_tokens", runs)
    shared = decoded.index[(decoded.gt(0) & decoded.eq(decoded.iloc[:, 0], axis=0)).all(axis=1)]
    if shared.empty:
        return Interval(NAN, NAN, NAN, 0, APART)
    ns = _by_run(sums, "decode_ns", runs).loc[shared]
    return ratio(_total(ns, baseline), _total(ns, own), across(sums, runs)[shared])


def _by_run(sums: pd.DataFrame, column: str, runs: Iterable[int]) -> pd.DataFrame:
    """Return a column of ``per_sequence`` as a table of sequences by runs; 0 where a run lacks one."""
    import pandas as pd

    return pd.DataFrame({run: sums[column].get(run, pd.Series(dtype="int64")) for run in runs}).fillna(0)


def own_ratio(sums: pd.DataFrame, runs: Iterable[int], over: str, under: str, factor: int = 1) -> Interval:
    """Return ``factor * over / under``, columns of ``per_sequence``, summed over ``runs``."""
    runs = list(runs)
    both = sums.loc[runs, [over, under]].groupby("sequence").sum()
    unit = across(sums, runs)[both.index]
    return ratio((factor * both[over]).to_numpy(np.int64), both[under].to_numpy(np.int64), unit)


def _total(table: pd.DataFrame, runs: Sequence[int]) -> NDArray[np.int64]:
    total: NDArray[np.int64] = table[list(runs)].to_numpy(np.int64).sum(axis=1)
    return total


def ratio(over: NDArray[np.int64], under: NDArray[np.int64], unit: pd.Series[int]) -> Interval:
    """Return sum(over) / sum(under) [n, one entry a sequence] with its bootstrap-t interval.

    Sequences with nothing in ``under`` are left out; those of one ``unit`` are summed up first, and units are
    resampled. The spread of the ratio's logarithm over the resamples, corrected for the number of units, is
    its standard error; Student's t gives the width (Hesterberg 2015, What teachers should know about the
    bootstrap, arXiv 1411.5279, sections 3 and 4). Where lengths and ratios of sequences are lognormal (sigma
    .6 and .15), such intervals hold the true ratio in .94 of cases at n = 4, 8 and 64; what lies between the
    percentiles of the resamples does in .79, .87 and .94.
    """
    kept = under > 0
    n, units = int(kept.sum()), unit.to_numpy(np.int64)[kept]
    if n == 0:
        return Interval(NAN, NAN, NAN, 0, "no sequence")
    names, place = np.unique(units, return_inverse=True)
    over, under = (_summed(column[kept], place) for column in (over, under))
    all_over, all_under = int(over.sum()), int(under.sum())
    value = float(Fraction(all_over, all_under))
    if (m := len(names)) < FEWEST:
        return Interval(value, NAN, NAN, n, _too_few(n, m))
    if np.count_nonzero(over) < 2:
        return Interval(value, NAN, NAN, n, "nothing to count in all but one")
    drawn = resampled(over, under)
    error = float(np.log(drawn[drawn > 0]).std()) * math.sqrt(m / (m - 1))
    width = math.exp(student_t(m - 1) * error)
    return Interval(value, _short(value / width), _short(value * width), n)


def resampled(over: NDArray[np.int64], under: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return sum(over) / sum(under) of RESAMPLES draws of n units with replacement [RESAMPLES]."""
    n, generator = len(over), np.random.Generator(np.random.PCG64(SEED))
    step = max(1, AT_ONCE // n)
    found = []
    for start in range(0, RESAMPLES, step):
        drawn = generator.integers(0, n, size=(min(step, RESAMPLES - start), n))
        found.append(over[drawn].sum(axis=1) / under[drawn].sum(axis=1))
    return np.concatenate(found)


def _short(value: float) -> float:
    """Return 12 digits: logarithms differ in the last ones from machine to machine."""
    return float(f"{value:.12g}")


def _summed(column: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.zeros(int(place.max()) + 1, np.int64)
    np.add.at(total, place, column)
    return total


def _too_few(sequences: int, units: int) -> str:
    if sequences == 1:
        return "one sequence"
    if units == sequences:
        return f"only {sequences} sequences"
    return SHARED if units == 1 else f"{SHARED}: only {units} independent groups"


def student_t(freedom: int) -> float:
    """Return the two-sided LEVEL quantile of Student's t, to 0.2 % from three degrees of freedom on.

    Abramowitz and Stegun (1964), Handbook of Mathematical Functions, 26.7.5.
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    powers: list[float] = [z**power for power in (1, 3, 5, 7, 9)]
    series = [
        sum(map(mul, terms, powers)) / (divisor * freedom**place)
        for place, (divisor, terms) in enumerate(EXPANSION, 1)
    ]
    return float(z + sum(series))
