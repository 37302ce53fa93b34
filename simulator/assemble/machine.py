"""From a hardware profile to the machine that a run uses: which tiers, which links, and what fits."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from simulator.assemble.costs import Costs
from simulator.assemble.limits import MOST
from simulator.config.units import format_apart
from simulator.engine.plan import NS_PER_S, HostPlan, LinkPlan, MachinePlan, Overhead, RuntimePlan, move_ns
from simulator.errors import InputError
from simulator.experiment.schema import CacheSize, Experiment, Runtime
from simulator.machine.hardware import HardwareProfile, Link


def tiers_used(experiment: Experiment, hardware: HardwareProfile) -> tuple[str, ...]:
    """Return the tiers of a run, fastest first; the last holds every expert.

    A GPU with DRAM beside it uses the SSD only where ``memory.cpu_expert_cache`` limits the DRAM.
    """
    names = hardware.tiers.names
    memory = experiment.memory
    for tier, cache in (("gpu", memory.gpu_expert_cache), ("cpu", memory.cpu_expert_cache)):
        if cache is not None and tier not in names:
            raise InputError(
                f"memory.{tier}_expert_cache",
                f"{hardware.name} has no {tier} tier",
                f"its tiers: {', '.join(names)}",
            )
    if getattr(memory, f"{names[0]}_expert_cache") is None:
        raise InputError(
            f"memory.{names[0]}_expert_cache", "missing", f"{hardware.name} computes in its {names[0]} memory"
        )
    if names[0] == "gpu" and "cpu" in names and memory.cpu_expert_cache is None:
        return ("gpu", "cpu")
    if len(names) == 2 and names[0] == "gpu" and "cpu" in names:
        raise InputError("memory.cpu_expert_cache", f"{hardware.name} has no ssd tier", "leave it out")
    return names


def machine_plan(hardware: HardwareProfile, tiers: tuple[str, ...], runtime: Runtime) -> MachinePlan:
    """Return the links between the tiers in use, fastest first, up before down."""
    plans: list[LinkPlan] = []
    for i, (fast, slow) in enumerate(pairwise(tiers)):
        for name, source, target in ((f"{slow}_to_{fast}", i + 1, i), (f"{fast}_to_{slow}", i, i + 1)):
            link = _link(hardware, name)
            if link is not None:
                plan = _link_plan(name, link, source, target, runtime.preemption)
                paged = runtime.read_block and slow == "ssd"
                plans.append(_in_blocks(plan, runtime.read_block) if paged else plan)
    cpu = hardware.tiers.cpu
    shared = cpu.bandwidth.value if cpu is not None and tiers[0] == "gpu" else 0
    return MachinePlan(tiers, tuple(plans), shared)


def _link(hardware: HardwareProfile, name: str) -> Link | None:
    links: dict[str, Link] = {str(key): link for key, link in hardware.links.items()}
    return links.get(name)


def _link_plan(
    name: str, link: Link, source: int, target: int, preemption: Literal["chunk", "none"]
) -> LinkPlan:
    rate = link.bandwidth.value
    alone = link.lane_bandwidth.value if link.lane_bandwidth else 0
    if link.host_copy_bandwidth is not None:  # pageable: each byte is copied by the CPU, then moved
        rate, alone = (
            _in_series(rate, link.host_copy_bandwidth.value),
            _in_series(alone, link.host_copy_bandwidth.value),
        )
    plan = LinkPlan(
        name=name,
        source=source,
        target=target,
        bytes_per_s=rate,
        latency_ns=link.latency.value,
        lanes=link.lanes.value if link.lanes else 1,
        lane_bytes_per_s=alone,
        table=tuple(sorted((row.block, row.lanes, row.bandwidth) for row in link.table.value))
        if link.table
        else (),
        chunk_bytes=link.chunk.value if link.chunk else 0,
        preemption=preemption,
        split=link.split,
        align_bytes=link.read_align.value if link.read_align else 0,
        copy_bytes_per_s=link.copy_after_read.value if link.copy_after_read else 0,
        uses_dram=link.reads_dram,
    )
    fastest = max(rate, alone, *(row[2] for row in plan.table), 0)
    if 0 < plan.chunk_bytes * 10**9 < fastest:
        raise InputError(f"links.{name}.chunk", "a chunk takes less than a nanosecond", "give a larger chunk")
    return plan


def _in_blocks(plan: LinkPlan, block: int) -> LinkPlan:
    """Return a link that reads a block at a time on each lane, and pays its latency for each."""
    lane = {n: plan.lane_rate(block, n) for n in range(1, plan.lanes + 1)}
    table = tuple(
        (block, n, max(1, n * block * NS_PER_S // (plan.latency_ns + move_ns(block, rate))))
        for n, rate in lane.items()
    )
    return replace(plan, table=table, latency_ns=0)


def _in_series(a: int, b: int) -> int:
    return a * b // (a + b) if a else 0


def runtime_plan(experiment: Experiment, costs: Costs, host: HostPlan, write_back_rate: int) -> RuntimePlan:
    """Return the runtime settings as the engine takes them, and what the host thread costs.

    ``write_back_rate``: bytes/s at which compute waits for what each load swaps out; 0 where it does not.
    """
    r = experiment.runtime
    exclusive = r.tiers == "exclusive"
    return RuntimePlan(
        overlap=r.overlap,
        parts=1 if r.parts == "tensors" else r.parts,
        tensors=costs.tensors if r.parts == "tensors" else (),
        parts_order=r.parts_order,
        evict=r.evict,
        cancel=r.cancel,
        staging_buffers=r.staging_buffers,
        host_staging_chunks=r.host_staging_chunks,
        exclusive=exclusive,
        overhead=Overhead(
            r.overhead.per_pass,
            r.overhead.per_miss,
            r.overhead.load_rate or (write_back_rate if exclusive else 0),
            r.overhead.evict_rate,
            r.overhead.when,
        ),
        host=host,
    )


def cache_bytes(where: str, cache: CacheSize, layer_bytes: tuple[int, ...], n_experts: int, room: int) -> int:
    """Return a cache's size in bytes, ``room`` for max; InputError if not even one expert fits."""
    if cache.max:
        size = max(0, room)
    elif cache.bytes is not None:
        size = cache.bytes
    elif cache.fraction is not None:
        size = int(Fraction(str(cache.fraction)) * n_experts * sum(layer_bytes))
    else:
        assert cache.experts_per_layer is not None
        if cache.experts_per_layer > n_experts:
            raise InputError(
                where, f"{cache.experts_per_layer} experts a layer of {n_experts}", "at most all of them"
            )
        size = cache.experts_per_layer * sum(layer_bytes)
    if size > MOST:
        raise InputError(where, f"{size} B is more than results hold", f"at most {MOST} B")
    if size < max(layer_bytes):
        has, needs = format_apart(size, max(layer_bytes))
        raise InputError(where, f"{has} is less than one expert", f"at least {needs}")
    return size
