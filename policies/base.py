"""What a policy is: small protocols over int keys.

An expert's key is ``moe_layer * n_experts + expert``. A version of it (an object at one
precision) has the key ``expert_key * n_versions + version``; with one precision the two are equal.
Tiers own bytes, pins and residency, and what a policy returns is checked (``engine/checked.py``): an
answer that breaks what is written here stops the run. What a policy is given cannot be changed. Keys
may be ints of Python or of NumPy. A policy's ``__init__`` signature is its parameter schema; ``bind``
gives it the run's context afterwards.

Life of an eviction policy in one demand event: ``on_use(keys)`` with every key that the event
demanded (resident or not) in order of last occurrence, after which the policy counts all of them
as present; then ``victim(blocked)`` (pure: it asks who would go) and ``on_evict(key)`` for each
that goes, and ``on_evict`` for demanded keys that were not kept. A speculative transfer enters
by ``on_insert(key)``.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from simulator.trace.core import Trace

NEVER = 1 << 62
"""Index of the next use of a key that is not used again."""

UNWANTED = -1
"""The version of an expert that is served if some version of it is resident, and skipped otherwise."""

NEEDS = frozenset(
    {
        "future",  # the demand of later events
        "gate_weights",
        "predictions",
        "gate_top",
        "recorded_residency",
        "token_ids",
    }
)


class Future(Protocol):
    """The demand of the whole run, known beforehand; for oracles only."""

    def next_uses(self, event: int) -> Sequence[int]:
        """Return, for each key of event ``event`` in order, the event of its next use or NEVER."""

    def next_use(self, key: int, event: int) -> int:
        """Return the first event after ``event`` that demands ``key``, or NEVER."""

    def keys(self, event: int) -> Sequence[int]:
        """Return the keys that event ``event`` demands ([] past the end of the run)."""


class Costs(Protocol):
    """What an expert costs on this machine, in ns, with nothing else running."""

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return its computation on the main unit."""

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return its computation on the CPU."""

    def fetch_ns(self, layer: int, version: int) -> int:
        """Return its transfer into tier 0 from the tier below."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a policy is told of the run, once, before it starts.

    ``model`` is the model's name. ``trace`` is what is replayed: predictions and records are looked up
    there by an event's ``rows``. ``training`` is what the experiment gives to learn from beforehand, a
    training trace or a share of the trace that is not replayed, if it does. ``learnt`` is that, or without it
    the tokens that are replayed: who uses it says so (``Policy.learns_beforehand``). ``popularity`` [L, E]
    counts how often each expert is used in ``learnt``. ``costs`` tells what moving and computing an expert
    takes, ``sizes`` [versions][L] how many bytes it has; ``precision`` is the run's precision policy.
    """

    n_layers: int
    n_experts: int
    top_k: int
    n_versions: int
    seed: int
    future: Future | None = None
    trace: Trace | None = None
    popularity: npt.NDArray[np.int64] | None = None
    training: Trace | None = None
    learnt: Trace | None = None
    costs: Costs | None = None
    sizes: Sequence[Sequence[int]] = ()
    precision: Precision | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One layer step's demand, as policies see it.

    ``keys`` are expert keys in order of last occurrence over (token, slot); ``tokens`` and
    ``gate_mass`` (normalised over k, summed over tokens) align with it. ``rows`` are the trace rows
    (token indices) of the step.
    """

    index: int
    layer: int
    keys: Sequence[int]
    tokens: Sequence[int]
    gate_mass: Sequence[float]
    rows: Sequence[int]
    decode: bool


class Policy:
    """Base of every policy: what it needs of the trace, and the run's context."""

    needs: ClassVar[frozenset[str]] = frozenset()
    cite: ClassVar[str] = ""
    context: Context
    learns_beforehand: bool = False
    """Whether it takes what it knows from ``context.learnt`` or ``popularity``; ``bind`` may settle it.

    Where the experiment gives nothing else to learn from, these are the tokens that are replayed: the run
    then knows the future, and nothing ranks it. Without it, reading them is an error.
    """

    def assumptions(self) -> Sequence[str]:
        """Return what this policy assumes and nobody measured, for the results; by default nothing."""
        return ()

    def check(self, trace: Trace) -> None:
        """Refuse a trace that cannot feed this policy, beyond what ``needs`` says. Errors: InputError."""

    def check_training(self, trace: Trace) -> None:
        """Refuse a training trace that this policy cannot learn from. Errors: InputError."""

    def bind(self, context: Context) -> None:
        """Take the run's context; called once, before anything else."""
        self.context = context

    def on_sequence_start(self) -> None:
        """Forget what is kept per sequence; by default nothing is."""


class Eviction(Policy):
    """Who leaves a full pool; keeps only its own order."""

    refuses: ClassVar[bool] = False
    """Whether ``victim`` may return None although somebody has landed who is not blocked."""

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Note a layer step and the version keys that it is served by, whatever their pools.

        Called before ``on_use``, for every step of the run, for policies whose records reach beyond
        their pool; by default nothing is noted.
        """

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Record one use of each key, in order; afterwards all of them count as present."""
        raise NotImplementedError

    def on_insert(self, key: int) -> None:
        """A speculative transfer of ``key`` took its space; it was not used yet."""
        raise NotImplementedError

    def on_evict(self, key: int) -> None:
        """``key`` left the pool, or was demanded and not kept."""
        raise NotImplementedError

    def victim(self, blocked: Container[int]) -> int | None:
        """Return who would go, somebody of the pool and none of ``blocked``; None if nobody can.

        Changes nothing. ``blocked`` has what the present step uses and what is on its way, and also what a
        prefetcher shields; where nobody can go then, a demand asks again without the shields.
        """
        raise NotImplementedError

    def preload(self, layers: Sequence[int]) -> Sequence[int]:
        """Return the experts of ``layers`` that the pool starts with, most wanted first; by default none.

        Distinct expert keys; they enter as far as they fit, by ``on_insert``.
        """
        return ()

    def residency(self, event: Event) -> Sequence[bool] | None:
        """Return, if this policy replays a record, whether each key of the event is resident; else None."""
        return None


class Admission(Policy):
    """Whether a demanded key may displace the victim that eviction names."""

    def order(self, keys: Sequence[int], event: int) -> Sequence[int]:
        """Return the missed keys, each once, in the order in which they ask for space."""
        return keys

    def admits(self, key: int, victim: int, event: int) -> bool:
        """Return whether ``key`` takes the place of ``victim``; if not, it is streamed."""
        raise NotImplementedError


class Partition(Policy):
    """How a tier's capacity is divided into pools, each with an eviction policy of its own."""

    def pools(self, capacity_bytes: int, layer_bytes: Sequence[int]) -> Sequence[tuple[int, Sequence[int]]]:
        """Return (capacity in bytes, layers) of each pool; the layers are a partition of all.

        The capacities are no more than ``capacity_bytes`` together. ``layer_bytes`` [L] is the size of one
        expert of each layer at main precision. Where the KV cache grows into the tier, it is asked again
        with less: the layers of each pool stay.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Wish:
    """An expert that a prefetcher wants: its version key, the layer step it is for, its rank score."""

    key: int
    layer: int
    """Layers ahead of the layer that was just routed: 1 is the next one (wraps into the next pass)."""
    score: float = 1.0


class Prefetch(Policy):
    """What to load before it is demanded; asked once after each layer's routing."""

    shields: ClassVar[bool] = True
    """Whether predicted experts are spared by eviction until their layer step has been routed."""

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Return what is predicted for later layers, most wanted first (resident ones too).

        Each is for a version key of the layer that it names. ``resident`` contains the version keys that
        have landed in tier 0.
        """
        raise NotImplementedError


class Precision(Policy):
    """At which precision each demanded expert is wanted, and what is acceptable instead."""

    def wanted(self, event: Event) -> Sequence[int]:
        """Return the version (index into the run's precisions), or UNWANTED, for each key of the event."""
        raise NotImplementedError

    def foreseen(
        self, experts: Sequence[Sequence[int]], weights: Sequence[Sequence[float]], layer: int
    ) -> Mapping[int, int]:
        """Return the version that predicted choices ask for, by expert; unwanted ones are left out.

        ``experts`` and ``weights`` [tokens][k] are what a predictor says of
        MoE layer ``layer`` (-1: nothing).
        """
        return {expert: 0 for row in experts for expert in row if expert >= 0}

    def accepts(self, version: int, wanted: int) -> bool:
        """Return whether a resident ``version`` serves where ``wanted`` was asked for."""
        return version == wanted


class Place(IntEnum):
    """What happens to a missed expert."""

    FETCH = 0
    CPU = 1
    SKIP = 2


@dataclass(frozen=True, slots=True)
class Placed:
    """A placement: where, and how many MoE layers later its output is combined (deferral)."""

    place: Place = Place.FETCH
    defer_layers: int = 0


class Placement(Policy):
    """Where each missed expert is computed."""

    uses_cpu: ClassVar[bool] = False
    """Whether it may place experts on the CPU; the machine has to have one then."""

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        """Return a placement for each missed key; one on the CPU that is not in DRAM is fetched."""
        raise NotImplementedError


class Routing(Policy):
    """Rewrites a step's demand after its lookups: drop, substitute, prefer what is cached."""

    rewrites: ClassVar[bool] = True

    def rewrite(self, event: Event, hit: Sequence[bool]) -> Sequence[int]:
        """Return, for each key of the event, the key of its layer that serves it, or -1 to drop it."""
        raise NotImplementedError


class Order(Policy):
    """In which order a step's missed experts are asked for."""

    def order(self, event: Event, missed: Sequence[int]) -> Sequence[int]:
        """Return the missed keys, each once, in the order in which their transfers are queued."""
        raise NotImplementedError
