"""Does the model suit offloading, and from which cache size on: one rule, one sentence.

The rule looks at SCH with m = 16 and rho = 2, the cache size that the paper of SCH recommends (arXiv
2505.16056). Its models fall into groups there: eleven at 66 % and more, four at 54 to 59 %, the others below
47 %. From GOOD on a model suits offloading, below POOR it does not. The cache size named is the smallest at
which LRU, tokens coming one by one, finds GOOD of its lookups.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.trace.locality.analyse import Locality

GOOD, POOR = 0.7, 0.5
M, RHO = 16, 2.0
WORDS = {
    "well": "suits expert offloading",
    "partly": "suits expert offloading in part",
    "poorly": "does not suit expert offloading",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """``suits`` is well, partly, poorly or unknown; ``experts_per_layer`` the cache size, if one will do."""

    suits: str
    sch: float | None
    experts_per_layer: int | None
    sentence: str


def judge(found: Locality) -> Verdict:
    """Return the verdict on a trace's model."""
    n_experts, top_k = found.header.n_experts, found.header.top_k
    model = found.header.model + " (synthetic routing)" * found.header.synthetic
    sch = found.value("sch", m=M, rho=RHO)
    sizes = range(top_k, n_experts + 1)
    size = next((n for n in sizes if (found.value("lru_hit_rate", size=n) or 0) >= GOOD), None)
    if RHO * top_k >= n_experts:
        suits, why = "unknown", f"twice the experts that a token activates are all {n_experts}"
    elif sch is None:
        suits, why = "unknown", f"no sequence has {M} tokens in a row"
    else:
        suits = "well" if sch >= GOOD else "partly" if sch >= POOR else "poorly"
        why = (
            f"with room for twice the experts that a token activates, a cache that knows the next {M} tokens "
            f"finds {sch:.1%} (SCH; {GOOD:.0%} is good, less than {POOR:.0%} is poor)"
        )
    start = (
        f"{model} {WORDS[suits]}" if suits in WORDS else f"Whether {model} suits expert offloading is open"
    )
    return Verdict(suits, sch, size, f"{start}: {why}; {_cache(size, n_experts)}.")


def _cache(size: int | None, n_experts: int) -> str:
    if size is None:
        return f"LRU does not find {GOOD:.0%} in this trace with any cache"
    share = f"{size} of {n_experts} experts a layer ({size / n_experts:.0%})"
    return f"LRU finds {GOOD:.0%} with room for {share}"
