"""An expert on the CPU: SwiGLU with numpy, and what it costs by tokens, size and stored precision."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.calibrate.sample import Sample, repeat

Floats = npt.NDArray[np.float32]
Weights = npt.NDArray[np.floating]


def swiglu(weights: Weights, x: Floats) -> Floats:
    """Return an expert's output [hidden, tokens] for ``x`` [hidden, tokens].

    ``weights`` [3, ffn, hidden] are gate, up and down (transposed); other than float32 they are converted.
    Source: Shazeer, GLU variants improve Transformer, arXiv 2002.05202.
    """
    gate, up, down = weights.astype(np.float32, copy=False)
    g = gate @ x
    return np.asarray(down.T @ (g / (1 + np.exp(-g)) * (up @ x)), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ExpertTimes:
    """Seconds an expert takes, by (bytes at float32, tokens), and of the largest one stored as float16."""

    float32: dict[tuple[int, int], Sample]
    float16: Sample


def roofline(
    times: Mapping[tuple[int, int], Sample], weight_bytes: int, fastest: float = float("inf")
) -> tuple[float, float, float]:
    """Return (bytes/s, FLOP/s, seconds besides) that fit times by (bytes, tokens) best.

    With one token an expert is its bytes and its launches (``simulator.assemble.costs``): a straight line
    through the sizes, each point weighed by its inverse, and no faster than ``fastest`` bytes/s.
    FLOP/s is what the largest expert reaches with the most tokens.
    """
    points = [(size, s.median) for (size, tokens), s in times.items() if tokens == 1]
    sizes, seconds = np.array(points).T
    slope, fixed = np.polyfit(sizes, seconds, 1, w=1 / seconds)
    if slope < 1 / fastest:
        slope = 1 / fastest
        fixed = np.average(seconds - sizes * slope, weights=seconds**-2)
    if fixed < 0 or slope <= 0:
        slope, fixed = float(np.median(seconds / sizes)), 0.0
    largest, most = max(times)
    flops = 2 * largest / weight_bytes * most
    return 1 / slope, flops / max(times[largest, most].median - fixed, 1e-9), float(fixed)


def measure_experts(
    shapes: Sequence[tuple[int, int]], tokens: Sequence[int], *, repeats: int, budget: int
) -> ExpertTimes:
    """Time experts of these (hidden, ffn), one after another out of ``budget`` bytes of them.

    So many that the next one is not in the processor's caches.
    """
    rng = np.random.default_rng(0)
    found: dict[tuple[int, int], Sample] = {}
    for hidden, ffn in shapes:
        size = 3 * hidden * ffn * 4
        experts = rng.random((max(2, budget // size), 3, ffn, hidden), dtype=np.float32) / hidden
        for n in tokens:
            found[size, n] = _walk(experts, hidden, n, repeats, rng)
    hidden, ffn = max(shapes, key=lambda shape: shape[0] * shape[1])
    halves = rng.random((max(2, budget // (6 * hidden * ffn)), 3, ffn, hidden), dtype=np.float32) / hidden
    return ExpertTimes(found, _walk(halves.astype(np.float16), hidden, 1, repeats, rng))


def _walk(experts: Weights, hidden: int, tokens: int, repeats: int, rng: np.random.Generator) -> Sample:
    """Time one expert: each repeat is the median over a walk through all (at most 64 of them)."""
    x = rng.standard_normal((hidden, tokens), dtype=np.float32)
    at = 0

    def walk() -> float:
        nonlocal at
        times = []
        for _ in range(min(len(experts), 64)):
            at = (at + 1) % len(experts)
            start = time.perf_counter()
            swiglu(experts[at], x)
            times.append(time.perf_counter() - start)
        return float(np.median(times))

    return repeat(walk, repeats)
