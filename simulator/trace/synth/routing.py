"""The generative model: which experts each token is routed to.

The logit of expert e of layer l for token t is

    popularity(l, e) + domain(d_t, l, e) + stickiness_l / r * [e was chosen for t - 1, as the r-th]
        + coupling_l * [e succeeds an expert that layer l - 1 chose for t] + Gumbel noise

and the k highest are chosen: draws without replacement from a softmax (the Gumbel top-k trick; Kool,
van Hoof and Welling, ICML 2019). Popularity is Zipf over the experts in an order of the layer's
own, what a domain adds is normal, and every expert succeeds one expert of the layer before. All
logits are added up in integers: see ``draws``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.trace.core import Ids, TraceHeader
from simulator.trace.synth.draws import UNIT, Draws, Ints, to_units
from simulator.trace.synth.parameters import Parameters

TABLES, ROUTES, DOMAINS = range(3)


@dataclass(frozen=True, slots=True)
class Tables:
    """What holds for all tokens, in units.

    ``base`` [D, L, E], ``sticky`` [L, k] by rank, ``coupling`` [L] (0 in the first layer);
    ``successor`` [L, E] by expert of the layer before.
    """

    base: Ints
    sticky: Ints
    coupling: Ints
    successor: npt.NDArray[np.intp]


def draw_tables(parameters: Parameters, header: TraceHeader) -> Tables:
    """Draw the popularity of experts, in each domain, and the coupling of each layer to the one before."""
    n_layers, n_experts = header.n_layers, header.n_experts
    draws = Draws(parameters.seed, TABLES)
    rank = draws.uniform((n_layers, n_experts)).argsort(axis=1, kind="stable")
    skew = parameters.by_layer("skew", n_layers)
    base = to_units(-skew[:, None] * np.log(rank + 1.0))
    base = base + _draw_offsets(draws, parameters, base.shape)
    successor = draws.uniform((n_layers, n_experts)).argsort(axis=1, kind="stable")
    coupling = to_units(parameters.by_layer("coupling", n_layers))
    coupling[0] = 0
    sticky = to_units(parameters.by_layer("stickiness", n_layers)[:, None] / np.arange(1, header.top_k + 1))
    return Tables(base, sticky, coupling, successor)


def _draw_offsets(draws: Draws, parameters: Parameters, shape: tuple[int, ...]) -> Ints:
    """Draw what each domain adds [D, L, E]: over the domains the mean is 0, so that popularity stays."""
    n_domains = parameters.domains
    drawn = draws.normal((n_domains, *shape))
    drawn -= drawn.sum(axis=0) // n_domains
    spread = parameters.by_layer("domain_strength", shape[0]) * math.sqrt(n_domains / max(n_domains - 1, 1))
    return np.rint(drawn * spread[:, None]).astype(np.int32)


def draw_domains(parameters: Parameters, block: int, n_sequences: int, n_tokens: int) -> npt.NDArray[np.intp]:
    """Return the domain of each token [S, T]: the last one drawn, and the first token draws one."""
    draws = Draws(parameters.seed, DOMAINS, block)
    shape = (n_sequences, n_tokens)
    drawn = (draws.uniform(shape) * parameters.domains).astype(np.intp)
    changes = draws.uniform(shape) < parameters.drift
    last = np.maximum.accumulate(np.where(changes, np.arange(n_tokens), 0), axis=1)
    return np.take_along_axis(drawn, last, axis=1)


@dataclass(frozen=True, slots=True)
class Routes:
    """Chosen experts, best first, and their logits in nats [S, T, L, k]; ``log_sum`` [S, T, L] if asked for.

    ``log_sum`` is the logarithm of the sum over all experts of exp(concentration * logit).
    """

    experts: Ids
    logits: npt.NDArray[np.float32]
    log_sum: npt.NDArray[np.float32] | None


def route(
    tables: Tables,
    domain: npt.NDArray[np.intp],
    draws: Draws,
    k: int,
    concentration: float | None = None,
) -> Routes:
    """Route tokens of ``domain`` [S, T]; ``concentration`` asks for ``log_sum``.

    Token t of layer l needs token t - 1 of layer l and layer l - 1 of token t, so all (t, l) with the
    same t + l are routed at once.
    """
    (n_sequences, n_tokens), (_, n_layers, n_experts) = domain.shape, tables.base.shape
    experts = np.empty((n_sequences, n_tokens, n_layers, k), dtype=np.int16)
    logits = np.empty(experts.shape, dtype=np.float32)
    log_sum = np.empty(experts.shape[:3], dtype=np.float32) if concentration is not None else None
    chosen = np.zeros((n_sequences, n_layers, k), dtype=np.intp)
    sticky = np.zeros((n_sequences, n_layers, n_experts), dtype=np.int32)
    bits = n_experts.bit_length()
    tie = (1 << bits) - 1 - np.arange(n_experts)  # of equal logits the lower id goes first
    for front in range(n_tokens + n_layers - 1):
        layers = np.arange(max(0, front - n_tokens + 1), min(n_layers, front + 1))
        tokens, span = front - layers, slice(layers[0], layers[-1] + 1)
        score = tables.base[domain[:, tokens], layers]
        score += sticky[:, span]
        score += draws.gumbel(score.shape)
        heirs = tables.successor[layers[:, None], chosen[:, layers - 1]]
        coupled = np.take_along_axis(score, heirs, axis=2) + tables.coupling[layers][:, None]
        np.put_along_axis(score, heirs, coupled, axis=2)
        packed = (score.astype(np.int64) << bits) + tie
        best = -np.sort(-np.partition(packed, n_experts - k)[..., n_experts - k :])
        winners = (1 << bits) - 1 - (best & ((1 << bits) - 1))
        chosen[:, span] = winners
        sticky[:, span] = 0
        np.put_along_axis(sticky[:, span], winners, tables.sticky[layers][None], axis=2)
        experts[:, tokens, layers] = winners
        logits[:, tokens, layers] = (best >> bits) / UNIT
        if log_sum is not None:
            log_sum[:, tokens, layers] = _log_sum(score, concentration or 0.0)
    return Routes(experts, logits, log_sum)


def _log_sum(score: Ints, concentration: float) -> npt.NDArray[np.float64]:
    """Return log(sum(exp(concentration * score))) over experts, score in units."""
    scaled = score * (concentration / UNIT)
    most = scaled.max(axis=-1)
    total: npt.NDArray[np.float64] = most + np.log(np.exp(scaled - most[..., None]).sum(axis=-1))
    return total
