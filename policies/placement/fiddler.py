"""Fiddler's rule: where a missed expert is computed sooner."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Event, Place, Placed, Placement

FETCH, CPU = Placed(), Placed(Place.CPU)


class Fiddler(Placement):
    """Divides a step's missed experts between CPU and GPU so that the longer of both is shortest.

    The CPU takes the sum of its experts' computations; the GPU that of the resident ones and, for each
    fetched one, transfer and computation. Those that cost the CPU most are fetched first: every
    such division is tried, which is exact where fetching costs the same for all (one precision; the
    GPU's time hardly depends on the tokens). Of equal divisions the one with fewer fetches.
    """

    cite = "Kamahori et al., Fiddler, ICLR 2025, arXiv 2402.07033, section 3.2"
    uses_cpu = True

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        """Return a placement for each missed key."""
        costs, n = self.context.costs, self.context.n_versions
        assert costs is not None
        layer = event.layer
        tokens = dict(zip(event.keys, event.tokens, strict=True))
        gone = {key // n for key in missed}
        gpu = sum(costs.expert_ns(layer, 0, count) for key, count in tokens.items() if key not in gone)
        on_cpu: dict[int, int] = {}
        on_gpu: dict[int, int] = {}
        for key, there in zip(missed, in_dram, strict=True):
            count, version = tokens.get(key // n, 1), key % n
            on_gpu[key] = costs.fetch_ns(layer, version) + costs.expert_ns(layer, version, count)
            if there:
                on_cpu[key] = costs.cpu_expert_ns(layer, version, count)
            else:
                gpu += on_gpu[key]
        movable = sorted(on_cpu, key=lambda key: (-on_cpu[key], key))
        cpu = sum(on_cpu.values())
        best, fetched = max(cpu, gpu), 0
        for i, key in enumerate(movable, start=1):
            cpu -= on_cpu[key]
            gpu += on_gpu[key]
            if max(cpu, gpu) < best:
                best, fetched = max(cpu, gpu), i
        stay = set(movable[fetched:])
        return [CPU if key in stay else FETCH for key in missed]
