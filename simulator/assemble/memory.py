"""What memory holds: experts' caches, and all that is beside them (docs/design.md, Memory)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.assemble.costs import Costs
from simulator.config.units import format_apart, format_bytes
from simulator.errors import InputError
from simulator.machine.hardware import HardwareProfile


@dataclass(frozen=True, slots=True)
class Tenants:
    """What memory holds beside the experts' caches; ``staging`` has bytes by tier."""

    hardware: HardwareProfile
    tiers: tuple[str, ...]
    costs: Costs
    kv_bytes: int
    pass_tokens: int
    staging: Mapping[str, int]
    all_experts: int

    def usable(self, tier: str) -> int:
        """Return the bytes of a tier that are not lost to driver, display and system."""
        spec = getattr(self.hardware.tiers, tier)
        return int(spec.capacity.value - (spec.reserved.value if hasattr(spec, "reserved") else 0))

    def of(self, tier: str) -> dict[str, int]:
        """Return what a tier holds beside its experts."""
        terms = {"staging": self.staging.get(tier, 0)}
        if tier == self.tiers[0]:
            terms |= {
                "non-expert weights": self.costs.non_expert_bytes(),
                "KV cache": self.kv_bytes,
                "activations": self.costs.working_bytes(self.pass_tokens),
            }
        return terms

    def room(self, tier: str) -> int:
        """Return the largest cache that a tier can have: what is left, at most all experts."""
        return min(self.usable(tier) - sum(self.of(tier).values()), self.all_experts)

    def check(self, caches: Mapping[str, int]) -> None:
        """Refuse a model that does not fit its tiers, with the arithmetic shown. Errors: InputError."""
        for tier in self.tiers:
            last, usable = tier == self.tiers[-1], self.usable(tier)
            terms = self.of(tier)
            terms["all experts" if last else "expert cache"] = self.all_experts if last else caches[tier]
            total = sum(terms.values())
            if total > usable:
                all_of_it, room = format_apart(total, usable)
                spelled = " + ".join(f"{format_bytes(n)} {what}" for what, n in terms.items() if n)
                over = format_bytes(total - usable)
                hint = "a machine with more memory, or a lower precision"
                if not last and caches[tier] > total - usable:
                    hint = f"make the cache {over} smaller, or say max"
                name = self.hardware.name
                where = f"hardware {name}, {tier} memory" if last else f"memory.{tier}_expert_cache"
                fault = f"does not fit: {spelled} = {all_of_it}, {over} more than {room}"
                raise InputError(where, fault, hint)
