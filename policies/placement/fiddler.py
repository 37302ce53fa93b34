"""Fiddler's rule: where a missed expert is computed sooner."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Event, Place, Placed, Placement

FETCH, CPU = Placed(), Placed(Place.CPU)


class Fiddler(Placement):
    """Computes a missed expert on the CPU, unless fetching it and computing it on the GPU takes less time.

    Each expert is judged by itself, as if it had CPU, link and GPU to itself. One that is not in DRAM is
    fetched.
    """

    cite = "Kamahori et al., Fiddler, ICLR 2025, arXiv 2402.07033, section 3.2"
    uses_cpu = True

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        """Return a placement for each missed key."""
        costs, n, layer = self.context.costs, self.context.n_versions, event.layer
        assert costs is not None
        tokens = dict(zip(event.keys, event.tokens, strict=True))
        found = []
        for key, there in zip(missed, in_dram, strict=True):
            count, version = tokens.get(key // n, 1), key % n
            on_gpu = costs.fetch_ns(layer, version) + costs.expert_ns(layer, version, count)
            stays = there and costs.cpu_expert_ns(layer, version, count) <= on_gpu
            found.append(CPU if stays else FETCH)
        return found
