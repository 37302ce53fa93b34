"""HybriMoE's schedule: the CPU takes the light misses, the link the heavy ones, until both meet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from policies.base import Event, Place, Placed, Placement

FETCH, CPU = Placed(), Placed(Place.CPU)


class TwoEnded(Placement):
    """Gives the CPU the missed experts of fewest tokens, and fetches as many as end CPU and GPU soonest.

    The GPU computes what it has, then what arrives, the most tokens first; transfers come one after
    another. Of equal ends fewer are fetched, of equal tokens the later in the step counts as fewer. What is
    not in DRAM is fetched.
    """

    cite = "Zhong et al., HybriMoE, DAC 2025, arXiv 2504.05897, section IV-B (hybrid scheduling)"
    uses_cpu = True

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        """Return a placement for each missed key."""
        costs, n, layer = self.context.costs, self.context.n_versions, event.layer
        assert costs is not None
        tokens = dict(zip(event.keys, event.tokens, strict=True))
        absent = {key // n for key in missed}
        busy = sum(costs.expert_ns(layer, 0, tokens[key]) for key in event.keys if key not in absent)
        far = [key for key, there in zip(missed, in_dram, strict=True) if not there]
        near = [key for key, there in zip(missed, in_dram, strict=True) if there]
        near.sort(key=lambda key: -tokens.get(key // n, 1))
        load = [(key % n, tokens.get(key // n, 1)) for key in near]
        on_cpu = [0, *accumulate(costs.cpu_expert_ns(layer, *one) for one in reversed(load))]
        arrived = sum(costs.fetch_ns(layer, key % n) for key in far)
        gpu = max(busy, arrived) + sum(
            costs.expert_ns(layer, key % n, tokens.get(key // n, 1)) for key in far
        )
        ends = []
        for fetched in range(len(near) + 1):
            ends.append(max(gpu if fetched or far else busy, on_cpu[len(near) - fetched]))
            if fetched < len(near):
                version, count = load[fetched]
                arrived += costs.fetch_ns(layer, version)
                gpu = max(gpu, arrived) + costs.expert_ns(layer, version, count)
        heavy = {*near[: ends.index(min(ends))], *far}
        return [FETCH if key in heavy else CPU for key in missed]
