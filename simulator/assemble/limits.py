"""What results can hold: a run whose times or bytes may not fit 64 bits is refused before it is played."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.assemble.costs import Costs, Span
from simulator.assemble.workload import Workload
from simulator.engine.plan import NS_PER_S, HostPlan, LinkPlan, MachinePlan, RuntimePlan, move_ns
from simulator.errors import InputError

MOST = 2**63 - 1
"""The largest number of a column: 292 years in ns, 8 EiB."""
NS_PER_YEAR = 31_556_952 * NS_PER_S


def check_limits(
    where: str,
    machine: MachinePlan,
    runtime: RuntimePlan,
    costs: Costs,
    workload: Workload,
    *,
    uses_cpu: bool,
) -> None:
    """Refuse a run that may last too long, or move too much, if every lookup is loaded one after another.

    It is an upper bound of what demand can take, far above what any run takes that is worth to be played.
    """
    header = workload.trace.header
    lookups = sum(len(batch.rows) for batch in workload.schedule) * header.n_layers * header.top_k
    largest = max(max(sizes) for sizes in costs.sizes)
    moved = largest + costs.activation_bytes * workload.largest_pass
    down = uses_cpu or runtime.exclusive
    links = [link for link in machine.links if down or link.source > link.target]
    parts = {f"link {link.name}": lookups * _load_ns(link, machine, runtime, moved) for link in links}
    parts["experts"] = lookups * _expert_ns(costs, workload.largest_pass, uses_cpu=uses_cpu)
    spans = [Span(workload.longest_context, workload.largest_pass)] * workload.most_sequences
    dense = costs.pass_costs(spans)
    layers = (*dense.before_ns, *dense.after_ns, *dense.combine_ns)
    parts["dense work"] = len(workload) * (dense.prologue_ns + dense.epilogue_ns + sum(layers))
    o = runtime.overhead
    of_a_miss = o.miss_ns + move_ns(largest, o.load_bytes_per_s) + move_ns(largest, o.evict_bytes_per_s)
    parts["runtime.overhead"] = len(workload) * o.pass_ns + lookups * of_a_miss
    parts["software"] = _host_ns(costs, runtime.host, len(workload), lookups)
    if (total := sum(parts.values())) > MOST:
        slowest = max(parts, key=lambda name: parts[name])
        years = [_years(ns) for ns in (total, parts[slowest])]
        raise InputError(
            where,
            f"the run may take {years[0]} years, {years[1]} of them for {slowest}",
            "results hold 292 (2**63 ns): smaller experts, higher rates or fewer tokens",
        )
    n_bytes = lookups * max(link.read_bytes(moved) for link in links)
    if n_bytes > MOST:
        raise InputError(
            where, f"the run may move {n_bytes} bytes", "results hold 2**63: smaller experts or fewer tokens"
        )


def _load_ns(link: LinkPlan, machine: MachinePlan, runtime: RuntimePlan, n_bytes: int) -> int:
    """Return how long an expert is on a link at most: on one lane, with the others and DRAM busy."""
    rates: Sequence[int] = [row[2] // row[1] for row in link.table] or [link.lane_rate(n_bytes, link.lanes)]
    rate = max(1, min(rates))
    if machine.dram_bytes_per_s:
        rate = max(1, min(rate, machine.dram_bytes_per_s // (len(machine.links) + 1)))
    jobs = max([runtime.parts, *(len(versions[0]) for versions in runtime.tensors)]) + link.lanes
    copied = move_ns(n_bytes, link.copy_bytes_per_s)
    return jobs * link.latency_ns + move_ns(n_bytes + jobs * link.read_bytes(0), rate) + copied


def _host_ns(costs: Costs, host: HostPlan, n_passes: int, lookups: int) -> int:
    """Return how long the host is at work at most: each lookup a miss, an eviction and a prefetch."""
    of_a_lookup = host.lookup_ns + host.miss_ns + host.evict_ns + 2 * host.copy_ns + host.activations_ns
    total = lookups * (of_a_lookup + host.round_trip_ns + host.group_ns)
    for launches in (costs.launches(decode=False), costs.launches(decode=True)):
        if launches is not None:
            layers = (launches.before_ns, launches.after_ns, launches.experts_ns, launches.combine_ns)
            of_a_pass = launches.prologue_ns + launches.epilogue_ns + sum(map(sum, layers))
            total += n_passes * (of_a_pass + sum(launches.experts_start_ns)) + lookups * max(
                launches.expert_ns
            )
    return total


def _expert_ns(costs: Costs, tokens: int, *, uses_cpu: bool) -> int:
    """Return the longest computation of an expert, on both units."""
    ns = 0
    for version, sizes in enumerate(costs.sizes):
        for layer in range(len(sizes)):
            one = costs.expert_ns(layer, version, tokens)
            ns = max(ns, one + (costs.cpu_expert_ns(layer, version, tokens) if uses_cpu else 0))
    return ns


def _years(ns: int) -> str:
    return f"{ns // NS_PER_YEAR:,}".replace(",", " ")
