"""Wire the parts of an engine together."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.engine.decide import Decider, PolicySet
from simulator.engine.fabric import Fabric
from simulator.engine.loader import Loader
from simulator.engine.plan import MachinePlan, RuntimePlan
from simulator.engine.player import ExpertCosts, Player
from simulator.engine.tiers import Tier


def wire(
    machine: MachinePlan,
    runtime: RuntimePlan,
    tiers: Sequence[Tier],
    policies: PolicySet,
    costs: ExpertCosts,
    n_versions: int = 1,
) -> Player:
    """Return a player; ``tiers`` are those of the machine but the last, which has everything."""
    fabric = Fabric(machine, runtime.host_staging_chunks)
    top, host = tiers[0], tiers[1] if len(tiers) == 2 else None
    loader = Loader(fabric, runtime, top, host, len(machine.tiers))
    after_event = runtime.evict == "after_event"
    decider = Decider(top, host, loader, policies, n_versions=n_versions, after_event=after_event)
    return Player(fabric, loader, decider, costs, runtime, n_versions)
