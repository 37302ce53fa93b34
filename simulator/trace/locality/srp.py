"""SRP, segment routing best performance: how well experts fixed for m tokens would cover what those use.

An expert of a layer is active f times in the m tokens from position p on. Those active at least alpha times
are predicted for all m tokens; SRP is the best F1 score of such a prediction, one alpha for all:

    SRP(m) = max over alpha of 2 S(alpha) / (m N(alpha) + S(0))

where S(alpha) sums f over the (expert, p) with f >= alpha, of which there are N(alpha). rho_hat is the size
of that prediction over the size of what is active. A layer's m rows count where all of them were recorded.

From Liang et al., Not All Models Suit Expert Offloading (arXiv 2505.16056), and its code,
ljcleo/moe-lrc, 30_srp_calc.py and 31_srp_refine.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.trace.core import MISSING
from simulator.trace.locality.bootstrap import ONE_SEQUENCE, Array, Bootstrap
from simulator.trace.locality.routing import Routing, Window
from simulator.trace.locality.table import Row

SEGMENTS = (4, 16, 64, 256)


def srp(routing: Routing, bootstrap: Bootstrap) -> Iterator[Row]:
    """Yield SRP and rho_hat by m over all layers, and SRP by layer; windows shorter than m do not count."""
    n_layers, n_sequences = routing.shape[1], len(routing.sequence_starts)
    in_layer = {m: np.zeros((n_layers, m + 1), dtype=np.int64) for m in SEGMENTS}
    in_sequence = {m: np.zeros((n_sequences, m + 1), dtype=np.int64) for m in SEGMENTS}
    used = dict.fromkeys(SEGMENTS, 0)
    for window in routing.windows:
        before = _running(routing, window)
        for m in SEGMENTS:
            if window.stop - window.start >= m:
                histogram = _histogram(before, m)
                in_layer[m] += histogram
                in_sequence[m][window.sequence] += histogram.sum(axis=0)
                used[m] += 1
    for m in SEGMENTS:
        value, size = best(in_sequence[m].sum(axis=0)[None])
        if not used[m] or np.isnan(value[0]):
            note = f"no window of {m} recorded tokens"
            yield Row("srp", None, 0, m=m, note=note)
            yield Row("srp_rho", None, 0, m=m, note=note)
            continue
        low, high = bootstrap.interval(in_sequence[m], lambda sums: best(sums)[0])
        note = ONE_SEQUENCE if low is None else ""
        yield Row("srp", float(value[0]), used[m], m=m, low=low, high=high, note=note)
        yield Row("srp_rho", float(size[0]), used[m], m=m)
        for layer, of in enumerate(best(in_layer[m])[0]):
            if not np.isnan(of):
                yield Row("srp", float(of), used[m], layer=layer, m=m)


def best(histograms: Array) -> tuple[Array, Array]:
    """Return SRP and rho_hat [R] of histograms of f [R, m + 1]; nan where nothing was active."""
    m = histograms.shape[1] - 1
    active = np.cumsum((histograms * np.arange(m + 1))[:, ::-1], axis=1)[:, ::-1]
    predicted = m * np.cumsum(histograms[:, ::-1], axis=1)[:, ::-1]
    total = np.where(active[:, :1] > 0, active[:, :1].astype(float), np.nan)
    score = 2 * active / (predicted + total)
    alpha = np.where(np.isnan(score), -1.0, score).argmax(axis=1)[:, None]
    value, size = np.take_along_axis(score, alpha, 1), np.take_along_axis(predicted / total, alpha, 1)
    return value[:, 0], size[:, 0]


def _running(routing: Routing, window: Window) -> Array:
    """Count the uses of each expert before each token of a window: [n + 1, L, E + 1].

    The last column counts rows that were not recorded.
    """
    ids = routing.experts[window.start : window.stop].astype(np.int64)
    ids[ids == MISSING] = routing.n_experts
    n_tokens, n_layers, _ = ids.shape
    uses = np.zeros((n_tokens + 1, n_layers, routing.n_experts + 1), dtype=np.int16)
    np.put_along_axis(uses[1:], ids, 1, axis=2)
    return uses.cumsum(axis=0, dtype=np.int16)


def _histogram(before: Array, m: int) -> Array:
    """Count how often each number of uses [L, m + 1] occurs among experts and segments of m tokens."""
    uses = before[m:] - before[:-m]
    n_layers = uses.shape[1]
    whole = uses[:, :, -1] == 0
    keys = uses[:, :, :-1] + (m + 1) * np.arange(n_layers, dtype=np.int32)[:, None]
    return np.bincount(keys[whole].ravel(), minlength=n_layers * (m + 1)).reshape(n_layers, m + 1)
