"""One change at a time: what a run would be like with more, faster or other parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import BaseModel

from simulator.assemble.run import Inputs, Run
from simulator.experiment.schema import CacheSize
from simulator.explain.times import Times
from simulator.machine.hardware import HardwareProfile, Sourced
from simulator.machine.software import IDEAL, SoftwareProfile

B = TypeVar("B", bound=BaseModel)
MATTERS = 0.02
"""The share of a token's time from which on what takes it is changed."""
FACTOR = 2
EVICTIONS = ("lru", "lfu", "lfru")
"""Policies that are tried in place of a run's own."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change, and the inputs with it; a ``bound`` knows the future, or is nothing that there is."""

    name: str
    inputs: Inputs
    bound: bool = False


def changes(run: Run, times: Times, ideal: SoftwareProfile) -> Iterator[Change]:
    """Yield the changes that may matter to a run: first of the machine, then of the policies."""
    yield from _of_machine(run, times, ideal)
    yield from _of_policies(run, times)


def _of_machine(run: Run, times: Times, ideal: SoftwareProfile) -> Iterator[Change]:
    inputs, hardware, top = run.inputs, run.inputs.hardware, run.tiers[0]
    whole = run.n_experts * sum(run.layer_bytes)
    for tier, capacity in run.capacity.items():
        if capacity < whole:
            cache = {f"{tier}_expert_cache": CacheSize.model_construct(bytes=min(whole, capacity * 3 // 2))}
            memory = inputs.experiment.memory.model_copy(update=cache)
            yield Change(
                f"half as much again of {tier.upper()} memory for experts", _with(inputs, memory=memory)
            )
    for link in run.machine.links:
        if times.share(f"stall_{link.name}") >= MATTERS:
            name = link.name.replace("_", " ")
            yield Change(
                f"{name} twice as fast", replace(inputs, hardware=_faster(hardware, "links", link.name))
            )
    if times.share("dense") + times.share("expert_compute") >= MATTERS:
        faster = _faster(hardware, "compute", top)
        yield Change(f"a {top.upper()} that computes twice as fast", replace(inputs, hardware=faster))
    if times.share("cpu_expert_wait") >= MATTERS:
        faster = _faster(_faster(hardware, "compute", "cpu"), "tiers", "cpu")
        yield Change("a CPU and DRAM twice as fast", replace(inputs, hardware=faster))
    if inputs.software.name != IDEAL and times.share("host") + times.share("overhead") >= MATTERS:
        yield Change("software that costs nothing", replace(inputs, software=ideal), bound=True)


def _of_policies(run: Run, times: Times) -> Iterator[Change]:
    inputs, policies = run.inputs, run.inputs.experiment.policies
    if sum(times.share(label) for label in times.ms if label.startswith(("stall", "cpu"))) < MATTERS:
        return
    for name in EVICTIONS:
        if _name(policies.eviction) != name:
            yield Change(f"eviction {name}", _with_policy(inputs, "eviction", name))
    if _name(policies.prefetch) == "none":
        if "predictions" in inputs.trace.offers():
            yield Change(
                "prefetching by the next layer's gate", _with_policy(inputs, "prefetch", "gate-lookahead")
            )
    else:
        yield Change("no prefetching", _with_policy(inputs, "prefetch", "none"))
    if "gpu_to_cpu" in inputs.hardware.links:
        if _name(policies.placement) == "fetch":
            yield Change(
                "misses computed on the CPU where that is faster",
                _with_policy(inputs, "placement", "fiddler"),
            )
        else:
            yield Change("no experts computed on the CPU", _with_policy(inputs, "placement", "fetch"))
    if run.n_versions == 1:
        yield Change("evicting what is needed last", _with_policy(inputs, "eviction", "belady"), bound=True)
    yield Change("prefetching that is always right", _with_policy(inputs, "prefetch", "oracle"), bound=True)


def _name(policy: object) -> object:
    return policy.get("name") if isinstance(policy, dict) else policy


def _with(inputs: Inputs, **parts: BaseModel) -> Inputs:
    return replace(inputs, experiment=inputs.experiment.model_copy(update=parts))


def _with_policy(inputs: Inputs, axis: str, policy: str) -> Inputs:
    return _with(inputs, policies=inputs.experiment.policies.model_copy(update={axis: policy}))


def _faster(hardware: HardwareProfile, section: str, part: str) -> HardwareProfile:
    """Return a machine one part of which has twice the rates: a link, a compute unit, a memory."""
    of = getattr(hardware, section)
    if isinstance(of, dict):
        return hardware.model_copy(update={section: {**of, part: _twice(of[part])}})
    return hardware.model_copy(update={section: of.model_copy(update={part: _twice(getattr(of, part))})})


RATES = {"bandwidth", "lane_bandwidth", "copy_after_read", "host_copy_bandwidth", "memory_bandwidth", "flops",
         "dequantise_bandwidth"}  # fmt: skip


def _twice(part: B) -> B:
    """Return a part with all of its rates, tables too, times ``FACTOR``."""
    changed: dict[str, object] = {}
    for name in type(part).model_fields:
        number = getattr(part, name)
        if name in RATES and isinstance(number, Sourced):
            changed[name] = number.model_copy(update={"value": number.value * FACTOR})
        elif name == "table" and number is not None:
            rows = [row.model_copy(update={"bandwidth": row.bandwidth * FACTOR}) for row in number.value]
            changed[name] = number.model_copy(update={"value": tuple(rows)})
    return part.model_copy(update=changed)
