"""A share of the misses is fetched while the CPU computes the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policies.base import Context, Event, Place, Placed, Placement

FETCH, CPU = Placed(), Placed(Place.CPU)


class FetchShare(Placement):
    """Fetches, while decoding, a share of the missed experts, so that link and CPU end together.

    The share is the link's rate over the rates of link and CPU together, from what one expert takes on
    each. It is rounded to the count whose later end is the earlier one, of equal ones to the lower. Those
    that were used last before this step are fetched, of equal ones the lowest key. What is not in DRAM is
    fetched, and so are all misses of prompts.
    """

    cite = "FreeToken, arXiv 2608.16157, sections 3.1 to 3.3, and its code (fetch_fraction, by recency)"
    uses_cpu = True

    def bind(self, context: Context) -> None:
        """Start the record of last uses."""
        super().bind(context)
        self.last = np.full(context.n_layers * context.n_experts, -1, np.int64)

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        """Return a placement for each missed key."""
        context = self.context
        costs, n = context.costs, context.n_versions
        assert costs is not None
        last = {key: int(self.last[key // n]) for key in missed}
        self.last[np.array(event.keys, np.int64)] = event.index
        if not event.decode:
            return [FETCH] * len(missed)
        here = sorted(
            (key for key, there in zip(missed, in_dram, strict=True) if there),
            key=lambda key: (-last[key], key),
        )
        fetched = set(here)
        if here:
            version = here[0] % n
            fetch_ns = costs.fetch_ns(event.layer, version)
            cpu_ns = costs.cpu_expert_ns(event.layer, version, 1)
            fetched = set(here[: balanced(len(here), fetch_ns, cpu_ns)])
        return [
            FETCH if key in fetched or not there else CPU for key, there in zip(missed, in_dram, strict=True)
        ]


def balanced(n: int, fetch_ns: int, cpu_ns: int) -> int:
    """Return how many of ``n`` to fetch so that n x fetch_ns and the rest x cpu_ns end as early as can be."""
    fewest = n * cpu_ns // (fetch_ns + cpu_ns)
    return min((fewest, fewest + 1), key=lambda count: max(count * fetch_ns, (n - count) * cpu_ns))
