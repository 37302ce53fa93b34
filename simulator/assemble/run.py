"""From a resolved experiment to a simulation that can run: models, machine, tiers and policies joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from policies.base import Context, Eviction, Partition, Policy
from policies.beforehand import as_read_by
from policies.registry import check_declared, check_needs, create
from simulator.assemble import machine as machines
from simulator.assemble.code import Code, as_copied
from simulator.assemble.costs import Costs, ModelCosts, TraceCosts
from simulator.assemble.limits import check_limits
from simulator.assemble.memory import Tenants
from simulator.assemble.workload import Workload, batches
from simulator.engine import checked, processes
from simulator.engine.decide import PolicySet
from simulator.engine.demand import Pass, Record
from simulator.engine.future import KnownFuture
from simulator.engine.merged import MergedPlayer
from simulator.engine.plan import LinkPlan, MachinePlan, RuntimePlan, move_ns
from simulator.engine.simulation import Simulation
from simulator.engine.tiers import Pool, Tier
from simulator.engine.wire import wire
from simulator.errors import InputError
from simulator.experiment.schema import Experiment
from simulator.machine.hardware import HardwareProfile
from simulator.machine.software import SoftwareProfile
from simulator.model.precision import MAIN
from simulator.model.spec import ModelSpec
from simulator.trace.core import Trace, TraceHeader
from simulator.trace.parts import fixed, read_only, shared_sequences, spans, take
from simulator.trace.sizes import TraceModel

P = TypeVar("P")


class Preloaded(Protocol):
    """A tier of any engine, as it is put together."""

    def preload(self, layers_of_pools: Sequence[Sequence[int]], versions: Sequence[int]) -> None:
        """Fill the pools with what their policies start with."""

    def resize(self, pool: Any, capacity: int) -> None:
        """Change a pool's capacity."""


T = TypeVar("T", bound=Preloaded)


@dataclass(slots=True)
class Inputs:
    """What an experiment names, loaded: what is replayed (``trace``), and what only is learnt from."""

    experiment: Experiment
    model: ModelSpec | TraceModel
    hardware: HardwareProfile
    software: SoftwareProfile
    trace: Trace
    seed: int
    training: Trace | None = None


class Run:
    """One run, put together; ``capacity`` has the bytes of each caching tier."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        experiment, trace = inputs.experiment, inputs.trace
        _check_trace_fits_model(inputs)
        self.tiers = machines.tiers_used(experiment, inputs.hardware)
        copied = as_copied(inputs.hardware, inputs.software)
        self.machine: MachinePlan = machines.machine_plan(copied, self.tiers, experiment.runtime)
        self.code = Code(inputs.software, inputs.hardware.main_unit, inputs.hardware.compute.cpu)
        self.costs: Costs = _costs(inputs, self.code)
        self.runtime: RuntimePlan = machines.runtime_plan(
            experiment, self.costs, self.code.host_plan(), self.code.write_back_rate(self.machine.links)
        )
        self.layer_bytes = self.costs.sizes[0]
        self.n_versions = len(self.costs.sizes)
        self.precisions: tuple[str, ...] = getattr(self.costs, "precisions", ())
        self.shares = _shares(experiment, self.n_versions)
        self.n_experts = trace.header.n_experts
        self.partition: Partition = create("partition", experiment.policies.partition)
        self.policies = self._policies()
        w = experiment.workload
        schedule = list(
            batches(
                trace,
                batch_size=w.batch_size,
                prefill_chunk=w.prefill_chunk,
                mixed=w.mixed,
                max_sequences=w.max_sequences,
                max_decode_tokens=w.max_decode_tokens,
            )
        )
        if not schedule:
            raise InputError(f"trace {experiment.trace}", "has no tokens", "record or import some")
        self.workload = Workload(trace, schedule, self.costs, with_mass="gate_weights" in self.needs)
        self.tenants = self._tenants()
        self.capacity = self._capacities()
        if experiment.memory.kv == "grow":
            self.workload.growing_cache = self.capacity[self.tiers[0]]
        self.future: KnownFuture | None = None
        self.partition.bind(as_read_by(self.partition, self.context()))
        check_declared(self.partition)
        self.code.absent = self._absent()
        self.costs.expert_ns.cache_clear()  # the partition may have asked before this was known
        self._check_memory()
        check_limits(
            f"hardware {inputs.hardware.name}",
            self.machine,
            self.runtime,
            self.costs,
            self.workload,
            uses_cpu=getattr(self.policies["placement"], "uses_cpu", False),
        )

    def events(self) -> list[tuple[int, ...]]:
        """Return the keys of every layer step of the run, in order."""
        return [keys for demands in self.workload.demands() for keys in demands]

    @cached_property
    def learnt(self) -> Trace:
        """What policies learn from beforehand: the tokens given for it, else those that are replayed."""
        if self.inputs.training is not None:
            return self.inputs.training
        rows = np.unique(np.fromiter(chain.from_iterable(b.rows for b in self.workload.schedule), np.intp))
        trace, end = self.inputs.trace, int(rows[-1]) + 1
        if len(rows) == end:
            return take(trace, slice(end))  # views
        return read_only(take(trace, np.isin(np.arange(trace.n_tokens), rows)))

    @cached_property
    def replays_what_is_learnt(self) -> bool:
        """Whether what policies learn from beforehand is replayed, in part at least."""
        training, trace = self.inputs.training, self.inputs.trace
        if training is None:
            return True
        last = spans(trace)[: self.inputs.experiment.workload.max_sequences][-1]
        return shared_sequences(training, take(trace, slice(last.stop)))

    # -- parts ------------------------------------------------------------------------------------

    def _policies(self) -> dict[str, Policy]:
        axes = ("admission", "prefetch", "precision", "placement", "routing", "order")
        chosen = {axis: create(axis, getattr(self.inputs.experiment.policies, axis)) for axis in axes}
        evictions = [self._new_eviction(tier) for tier in range(len(self.tiers) - 1)]
        if self.inputs.experiment.policies.cpu_eviction is not None and len(self.tiers) == 2:
            evictions.append(self._new_eviction(1))  # nothing to evict from here: it is only checked
        every: list[Policy] = [*chosen.values(), self.partition, *evictions]
        for policy in every:
            check_needs(policy, self.inputs.trace, self.inputs.experiment.trace)
            if self.inputs.training is not None:
                policy.check_training(self.inputs.training)
        self.needs = frozenset(word for policy in every for word in policy.needs)
        goes_down = any(link.name == "gpu_to_cpu" for link in self.machine.links)
        name = self.inputs.hardware.name
        uses_cpu = getattr(chosen["placement"], "uses_cpu", False)
        if uses_cpu and isinstance(self.inputs.model, TraceModel):
            raise InputError(
                "policies.placement",
                "computes experts on the CPU",
                "model: trace has no costs of it: name a model",
            )
        if uses_cpu and not goes_down:
            raise InputError(
                "policies.placement", "computes experts on the CPU", f"{name} has no CPU beside a GPU"
            )
        if self.runtime.exclusive and not goes_down:
            raise InputError(
                "runtime.tiers", "exclusive needs a link gpu_to_cpu", f"{name} has none: use inclusive"
            )
        return chosen

    def _new_eviction(self, tier: int) -> Eviction:
        spec = self.inputs.experiment.policies
        policy = create("eviction", spec.eviction)
        if tier and spec.cpu_eviction is not None:
            policy = create("eviction", spec.cpu_eviction, "policies.cpu_eviction")
        assert isinstance(policy, Eviction)
        return policy

    def _tenants(self) -> Tenants:
        """Return what memory holds beside the experts' caches."""
        experiment, w = self.inputs.experiment, self.workload
        largest = max(max(sizes) for sizes in self.costs.sizes)
        staging = {self.tiers[0]: self.runtime.staging_buffers * largest}
        if len(self.tiers) == 3:
            chunk = next(x.chunk_bytes for x in self.machine.links if x.source == 2) or largest
            staging[self.tiers[1]] = self.runtime.host_staging_chunks * chunk
        context = w.longest_context * min(experiment.workload.batch_size, w.most_sequences)
        return Tenants(
            self.inputs.hardware,
            self.tiers,
            self.costs,
            kv_bytes=0 if experiment.memory.kv == "grow" else self.costs.kv_bytes(context),
            pass_tokens=w.largest_pass,
            staging=staging,
            all_experts=self.n_experts * sum(sum(sizes) for sizes in self.costs.sizes),
        )

    def _capacities(self) -> dict[str, int]:
        """Return the bytes of each caching tier."""
        memory = self.inputs.experiment.memory
        return {
            tier: machines.cache_bytes(
                f"memory.{tier}_expert_cache",
                cache,
                self.layer_bytes,
                self.n_experts,
                self.tenants.room(tier),
            )
            for tier in self.tiers[:-1]
            if (cache := getattr(memory, f"{tier}_expert_cache")) is not None
        }

    def _check_memory(self) -> None:
        """Refuse what does not fit, and a KV cache that nobody makes room for. Errors: InputError."""
        m, top, w = self.inputs.experiment.memory, self.tiers[0], self.workload
        static = type(self._new_eviction(0))
        if m.kv == "grow" and static.refuses and static.residency is Eviction.residency:
            fault = "the KV cache grows into the experts' cache, and the eviction policy lets nobody go"
            raise InputError("memory.kv", fault, "use reserve")
        largest = max(max(sizes) for sizes in self.costs.sizes)
        context = w.longest_context * min(self.inputs.experiment.workload.batch_size, w.most_sequences)
        if m.kv == "grow" and self.capacity[top] - self.costs.kv_bytes(context) < largest:
            raise InputError(
                f"memory.{top}_expert_cache", "the KV cache grows over all of it", "use a larger cache"
            )
        self.tenants.check(self.capacity)

    def pools(self, tier: int) -> list[tuple[int, list[int]]]:
        """Return (capacity, layers) of each pool of a caching tier."""
        return checked.pools(self.partition, self.capacity[self.tiers[tier]], self.layer_bytes)

    def _absent(self) -> list[bool]:
        """Return whether tier 0 has too little room for all experts of a layer, by layer."""
        absent = [False] * len(self.layer_bytes)
        for capacity, layers in self.pools(0):
            needed = self.n_experts * sum(self.layer_bytes[layer] for layer in layers)
            for layer in layers:
                absent[layer] = capacity < needed
        return absent

    def _by_version(self, tier: int, capacity: int) -> list[tuple[int, tuple[int, ...]]]:
        """Divide a pool of tier 0 among the versions, where the experiment says how: (bytes, versions)."""
        if tier or not self.shares:
            return [(capacity, ())]
        return [(int(capacity * share), (version,)) for version, share in enumerate(self.shares)]

    def context(self) -> Context:
        """Return what the policies are told of the run."""
        header = self.inputs.trace.header
        up = next(link for link in self.machine.links if (link.source, link.target) == (1, 0))
        return Context(
            n_layers=header.n_layers,
            n_experts=self.n_experts,
            top_k=header.top_k,
            n_versions=self.n_versions,
            seed=self.inputs.seed,
            future=self.future,
            trace=self.inputs.trace,
            popularity=self._popularity,
            training=self.inputs.training,
            learnt=self.learnt,
            costs=KnownCosts(self.costs, up),
            sizes=self.costs.sizes,
            precision=checked.Foreseen(self.policies["precision"], self.n_versions),  # type: ignore[arg-type]  # made by its axis
            model=self.inputs.model.name,
        )

    @cached_property
    def _popularity(self) -> npt.NDArray[np.int64]:
        """How often each expert [L, E] is used in what policies learn from."""
        by_layer = self.learnt.experts.swapaxes(0, 1)
        counts = [np.bincount(ids[ids >= 0], minlength=self.n_experts) for ids in by_layer]
        return fixed(np.array(counts, dtype=np.int64))

    def simulation(self, keep: Callable[[Pass, Record], None], *, merge: bool = True) -> Simulation:
        """Return the simulation; ``merge`` allows the speed hack where it applies."""
        parts = self._parts(Pool, Tier)
        chosen = PolicySet(**self.policies)  # type: ignore[arg-type]
        player = wire(self.machine, self.runtime, parts.tiers, chosen, self.costs, self.n_versions)
        merged = None
        if merge and MergedPlayer.applies(player, self.machine, self.runtime, self.n_versions):
            merged = MergedPlayer(player, self.machine, list(self.layer_bytes))
        return Simulation(player, merged, parts.bound, keep, parts.resize)

    def processes(self, keep: Callable[[Pass, Record], None]) -> processes.Engine:
        """Return the SimPy model, with the same answers."""
        parts = self._parts(processes.Pool, processes.Tier)
        chosen = PolicySet(**self.policies)  # type: ignore[arg-type]
        return processes.Engine(
            self.machine, self.runtime, parts.tiers, chosen, self.costs, parts.bound, keep, parts.resize
        )

    def _parts(self, pool_of: Callable[[int, Eviction], P], tier_of: Callable[..., T]) -> Parts[T]:
        """Return tiers of an engine's kind, their pools preloaded, and every policy, bound."""
        if "future" in self.needs and self.future is None:
            self.future = KnownFuture(self.events())
        context = self.context()
        seed = context.seed * 1_000_003
        stride = self.n_experts * self.n_versions
        sizes = self.costs.sizes
        n = self.n_versions

        def size_of(key: int) -> int:
            return sizes[key % n][key // stride]

        tiers: list[T] = []
        told: list[list[tuple[P, list[int], tuple[int, ...]]]] = []
        bound: list[Policy] = list(self.policies.values())
        for i, name in enumerate(self.tiers[:-1]):
            pools = []
            for capacity, layers in self.pools(i):
                for part, versions in self._by_version(i, capacity):
                    eviction = self._new_eviction(i)
                    bound.append(eviction)
                    pools.append((pool_of(part, eviction), layers, versions))
            tiers.append(tier_of(name, pools, size_of, stride, n))
            told.append(pools)
        for i, policy in enumerate(bound):
            policy.bind(as_read_by(policy, replace(context, seed=seed + i)))  # pools draw independently
            check_declared(policy)  # bind may settle whether it learns beforehand
        for tier, pools in zip(tiers, told, strict=True):
            tier.preload(
                [layers for _, layers, _ in pools], [min(versions, default=0) for _, _, versions in pools]
            )

        def resize(capacity: int) -> None:
            found = checked.pools(self.partition, capacity, self.layer_bytes, [p[1] for p in self.pools(0)])
            shares = [part for share, _ in found for part, _ in self._by_version(0, share)]
            for (pool, _, _), part in zip(told[0], shares, strict=True):
                tiers[0].resize(pool, part)

        return Parts(tiers, bound, resize)


@dataclass(frozen=True, slots=True)
class Parts(Generic[T]):
    """What an engine is made of: its tiers, all policies, and what changes tier 0's capacity."""

    tiers: list[T]
    bound: list[Policy]
    resize: Callable[[int], None]


def _costs(inputs: Inputs, code: Code) -> Costs:
    model = inputs.model
    if isinstance(model, TraceModel):
        return TraceCosts(model, code)
    precision = inputs.experiment.precision
    if precision.dense is not None:
        model = model.model_copy(update={"dense_precision": precision.dense, "file_dense_bytes": None})
    experts = [model.main_precision if name == MAIN else name for name in precision.experts or (MAIN,)]
    costs = ModelCosts(model, code, experts)
    for (better, size), (worse, less) in pairwise(zip(experts, map(sum, costs.sizes), strict=True)):
        if less >= size:
            raise InputError(
                "precision.experts", f"{worse} is no smaller than {better}", "best first, each smaller"
            )
    return costs


def _shares(experiment: Experiment, n_versions: int) -> tuple[float, ...]:
    """Return how tier 0 is divided among the versions; () where they share it."""
    shares = experiment.precision.shares or ()
    if shares and (len(shares) != n_versions or sum(shares) > 1 + 1e-9):
        raise InputError(
            "precision.shares",
            f"{list(shares)}",
            f"one for each of {n_versions} precisions, 1 in all at most",
        )
    return shares


@dataclass(frozen=True, slots=True)
class KnownCosts:
    """What policies may know of costs: those of the engine, and a transfer that has the link to itself."""

    costs: Costs
    up: LinkPlan

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time of an expert on the main unit."""
        return self.costs.expert_ns(layer, version, tokens)

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time of an expert on the CPU."""
        return self.costs.cpu_expert_ns(layer, version, tokens)

    def fetch_ns(self, layer: int, version: int) -> int:
        """Return the time of a transfer into tier 0, over all lanes if the link splits experts."""
        lanes = self.up.lanes if self.up.split else 1
        n_bytes = self.up.read_bytes(self.costs.sizes[version][layer] // lanes)
        return self.up.latency_ns + move_ns(n_bytes, self.up.lane_rate(n_bytes, lanes))


def _check_trace_fits_model(inputs: Inputs) -> None:
    """Refuse a trace whose layers, experts or k are not the model's."""
    model = inputs.model
    name, header = inputs.experiment.trace, inputs.trace.header
    _check_shape(f"trace {name}", header, model)
    if inputs.training is not None:
        _check_shape(f"training_trace {inputs.experiment.training_trace}", inputs.training.header, model)


def _check_shape(where: str, header: TraceHeader, model: ModelSpec | TraceModel) -> None:
    pairs = (
        ("MoE layers", len(model.moe_layers), header.n_layers),
        ("experts", model.n_experts, header.n_experts),
        ("top_k", model.top_k, header.top_k),
    )
    for what, has, recorded in pairs:
        if has != recorded:
            raise InputError(
                where,
                f"{what} {recorded}, but model {model.name} has {has}",
                f"the trace was recorded from {header.model}",
            )
