"""Where the time of a decoded token goes, and what a run is bound by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.results.metrics import Value

PARTS = {
    "dense": "attention, gate and all else that every token needs",
    "expert_compute": "computing experts",
    "cpu_expert_wait": "waiting for experts on the CPU",
    "overhead": "the runtime's work for each miss and byte",
    "host": "waiting for the engine's software",
    "stall_cpu_to_gpu": "waiting for the link from DRAM to the GPU",
    "stall_ssd_to_cpu": "waiting for the drive",
    "stall_ssd_to_gpu": "waiting for the drive",
}
"""Labels of time in words; each is a column ``LABEL_ms_per_token``."""
BOUND = {
    "dense": "compute", "expert_compute": "compute", "cpu_expert_wait": "the CPU", "overhead": "its runtime",
    "host": "its software", "stall_cpu_to_gpu": "the link from DRAM", "stall_ssd_to_cpu": "the drive",
    "stall_ssd_to_gpu": "the drive",
}  # fmt: skip
"""What a run is bound by that spends its time so."""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of a decoded token by label; ``total_ms`` is all of them."""

    ms: Mapping[str, float]

    @property
    def total_ms(self) -> float:
        """Return the time of a decoded token."""
        return sum(self.ms.values())

    def share(self, label: str) -> float:
        """Return the share of a token's time that has a label."""
        return self.ms.get(label, 0.0) / self.total_ms if self.total_ms else 0.0

    @property
    def bound_by(self) -> dict[str, float]:
        """Return the share of a token's time by what it is bound by, the largest first."""
        found: dict[str, float] = {}
        for label in self.ms:
            found[BOUND[label]] = found.get(BOUND[label], 0.0) + self.share(label)
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def sentence(self) -> str:
        """Say what the run is bound by."""
        if not self.total_ms:
            return "No token was decoded."
        (first, share), *others = self.bound_by.items()
        rest = [f"{what} {part:.0%}" for what, part in others if part >= 0.1]
        return f"The run is bound by {first}: {share:.0%} of the time" + (
            f" ({', '.join(rest)})." if rest else "."
        )


def by_label(metrics: Mapping[str, Value]) -> Times:
    """Return the time of a decoded token by label; labels without time are left out."""
    found = {label: metrics[f"{label}_ms_per_token"] for label in PARTS}
    return Times({label: ms for label, ms in found.items() if isinstance(ms, float) and ms > 0})
