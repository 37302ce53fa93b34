"""Ratios of sums over sequences, with intervals from resampling the sequences.

Speed-up, tokens per second and hit rate are all such ratios. Runs that replayed the same sequences are
compared pairwise: a resample draws the same sequences for numerator and denominator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.tables import need_integers
from simulator.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

RESAMPLES, SEED, LEVEL = 10_000, 20_231, 0.95
FEWEST = 4
"""Sequences that an interval needs: of fewer, the extreme alone is more than 2.5 % of the resamples."""
AT_ONCE = 1 << 22  # drawn indices that are held in memory
INTEGERS = ("run", "pass", "sequence", "tokens", "latency_ns", "lookups", "hits")
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate over ``sequences`` sequences with its 95 % interval; NaN without one, and ``why``."""

    value: float
    low: float
    high: float
    sequences: int
    why: str = ""


def per_sequence(tokens: pd.DataFrame) -> pd.DataFrame:
    """Return a row per (run, sequence): ``decode_ns``, ``decoded_tokens``, ``lookups``, ``hits``, all int.

    A pass of a batch is divided evenly among its decoding sequences (what it counted, among all of its
    sequences), to whole units that add up. So sums over sequences count each pass once, and the time of a
    sequence is its part of the machine's, not what its user waits; the parts depend on who shared the batch,
    and an interval takes them as given. Errors: InputError where a column is missing or no number.
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
    return joined.fillna(0).astype("int64").sort_index()


def _divided(rows: pd.DataFrame, column: str) -> pd.Series[int]:
    """Return each row's part of what all rows of a pass repeat."""
    passes = rows.groupby(["run", "pass"])
    n, i, whole = passes["sequence"].transform("size"), passes.cumcount(), rows[column]
    return whole * (i + 1) // n - whole * i // n


def speed_up(sums: pd.DataFrame, own: Sequence[int], baseline: Sequence[int]) -> Interval:
    """Return the decode time of the baseline's runs over that of ``own``, on the sequences that all decoded.

    ``sums`` is of ``per_sequence``; runs that only their seed tells apart are summed up by sequence. A
    sequence counts where every run decoded as many tokens of it. Errors: InputError where there is none.
    """
    runs = list(dict.fromkeys([*own, *baseline]))
    decoded = _by_run(sums, "decoded_tokens", runs)
    shared = decoded.index[(decoded.gt(0) & decoded.eq(decoded.iloc[:, 0], axis=0)).all(axis=1)]
    if shared.empty:
        names = ", ".join(map(str, runs))
        raise InputError("tokens.parquet", f"runs {names} decode no sequence in common", "compare others")
    ns = _by_run(sums, "decode_ns", runs).loc[shared]
    return ratio(_total(ns, baseline), _total(ns, own))


def _by_run(sums: pd.DataFrame, column: str, runs: Iterable[int]) -> pd.DataFrame:
    """Return a column of ``per_sequence`` as a table of sequences by runs; 0 where a run lacks one."""
    import pandas as pd

    return pd.DataFrame({run: sums[column].get(run, pd.Series(dtype="int64")) for run in runs}).fillna(0)


def own_ratio(sums: pd.DataFrame, runs: Iterable[int], over: str, under: str, factor: int = 1) -> Interval:
    """Return ``factor * over / under``, columns of ``per_sequence``, summed over ``runs``."""
    both = sums.loc[list(runs), [over, under]].groupby("sequence").sum()
    return ratio((factor * both[over]).to_numpy(np.int64), both[under].to_numpy(np.int64))


def _total(table: pd.DataFrame, runs: Sequence[int]) -> NDArray[np.int64]:
    total: NDArray[np.int64] = table[list(runs)].to_numpy(np.int64).sum(axis=1)
    return total


def ratio(over: NDArray[np.int64], under: NDArray[np.int64]) -> Interval:
    """Return sum(over) / sum(under) [n, one entry a sequence] with its percentile bootstrap interval.

    Sequences with nothing in ``under`` are left out. Efron and Tibshirani (1993), An Introduction to the
    Bootstrap, ch. 13. Integers are summed exactly; the resamples are the same each time.
    """
    over, under = over[under > 0], under[under > 0]
    n = len(under)
    if n == 0:
        return Interval(NAN, NAN, NAN, 0, "no sequence")
    value = float(Fraction(int(over.sum()), int(under.sum())))
    if n < FEWEST:
        return Interval(value, NAN, NAN, n, "one sequence" if n == 1 else f"only {n} sequences")
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resampled(over, under), [tail, 1 - tail])
    return Interval(value, float(low), float(high), n)


def resampled(over: NDArray[np.int64], under: NDArray[np.int64]) -> Any:
    """Return sum(over) / sum(under) of RESAMPLES draws of n sequences with replacement [RESAMPLES]."""
    n, generator = len(over), np.random.Generator(np.random.PCG64(SEED))
    step = max(1, AT_ONCE // n)
    found = []
    for start in range(0, RESAMPLES, step):
        drawn = generator.integers(0, n, size=(min(step, RESAMPLES - start), n))
        found.append(over[drawn].sum(axis=1) / under[drawn].sum(axis=1))
    return np.concatenate(found)
