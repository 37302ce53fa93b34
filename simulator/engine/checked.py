"""What policies answer, checked: the one place that says which answers a policy may not give.

The engine asks policies through these functions. Only ``victim`` is asked elsewhere, since it is asked at
every miss: who asks it looks whether the answer is plain (an int, there, not blocked), and hands any other
answer to ``judge_victim``. A number may be a whole one of Python or NumPy, but no bool; what comes back is an
int. Errors: PolicyError, which names class, method, answer, layer and event, and what to look at.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from operator import index
from typing import Any, cast

import numpy as np

from policies.base import (
    UNWANTED,
    Admission,
    Event,
    Eviction,
    Order,
    Partition,
    Place,
    Placed,
    Placement,
    Policy,
    Precision,
    Prefetch,
    Routing,
    Wish,
)
from simulator.errors import PolicyError

Where = Event | str
"""The step that a policy was asked in, or words for it."""
PLAN = "before the run"


def judge_victim(
    policy: Eviction,
    answer: object,
    blocked: Container[int],
    here: Collection[int],
    pools: Iterable[Collection[int]],
    where: Where,
) -> int | None:
    """Return the victim that ``answer`` is, or None where nobody can go.

    ``here`` are the keys that have landed in the pool, ``pools`` those of each pool of the tier.
    """
    if answer is None:
        free = None if policy.refuses else next((key for key in here if key not in blocked), None)
        if free is None:
            return None
        raise _wrong(
            policy, "victim", f"None, though {free} could go", where, "do on_use and on_insert count it in?"
        )
    key = _whole(answer)
    if key is None:
        raise _wrong(
            policy, "victim", f"{_shown(answer)}, which is no key", where, "a key is an int; None is nobody"
        )
    if key in blocked:
        fault, hint = "is in 'blocked'", "does it leave out what is in use and on its way?"
    elif key in here:
        return key
    elif any(key in other for other in pools):
        fault, hint = "is in another pool", "is its state kept by the class, and not made in __init__?"
    else:
        fault, hint = "is not in the pool", "does on_evict forget it?"
    raise _wrong(policy, "victim", f"{key}, which {fault}", where, hint)


def residency(policy: Eviction, event: Event) -> Sequence[bool] | None:
    """Ask for a recorded residency: None, or whether each key of the event is there."""
    answer = policy.residency(event)
    if answer is None:
        return None
    said = _listed(policy, "residency", answer, event, len(event.keys), "key")
    return [_yes(policy, "residency", one, event) for one in said]


def preload(policy: Eviction, layers: Sequence[int], n_experts: int) -> list[int]:
    """Ask for the experts that a pool starts with: distinct ones of its layers."""
    keys: dict[int, None] = {}
    for one in _listed(policy, "preload", policy.preload(layers), PLAN):
        key = _whole(one)
        if key is None or key // n_experts not in layers:
            hint = "an expert's key is layer * n_experts + expert, of the layers that it was given"
            raise _wrong(
                policy, "preload", f"{_shown(one)}, which is no expert of the pool's layers", PLAN, hint
            )
        if key in keys:
            raise _wrong(policy, "preload", f"{key} twice", PLAN, "each expert once")
        keys[key] = None
    return list(keys)


def pools(
    policy: Partition,
    capacity_bytes: int,
    layer_bytes: Sequence[int],
    before: Sequence[Sequence[int]] | None = None,
) -> list[tuple[int, list[int]]]:
    """Ask for a tier's pools: each layer is in one, their bytes are no more than there are.

    ``before`` are the layers of each pool that a tier has, where its capacity changes: they stay.
    """
    found: list[tuple[int, list[int]]] = []
    hint = "one (bytes, layers) for each pool; each layer is in one of them"
    for one in _listed(policy, "pools", policy.pools(capacity_bytes, layer_bytes), PLAN):
        pair = _listed(policy, "pools", one, PLAN, 2, "pool")
        size = _whole(pair[0])
        layers = [_whole(layer) for layer in _listed(policy, "pools", pair[1], PLAN)]
        if size is None or size < 0:
            raise _wrong(policy, "pools", f"a pool of {_shown(pair[0])} bytes", PLAN, hint)
        found.append((size, [-1 if layer is None else layer for layer in layers]))
    covered = sorted(layer for _, layers in found for layer in layers)
    if covered != list(range(len(layer_bytes))):
        what = f"pools of the layers {_shown(covered)}, not each of 0 to {len(layer_bytes) - 1} once"
        raise _wrong(policy, "pools", what, PLAN, hint)
    if (total := sum(size for size, _ in found)) > capacity_bytes:
        what = f"pools of {total} bytes together, of {capacity_bytes}"
        raise _wrong(policy, "pools", what, PLAN, "a tier has no more than its capacity")
    if before is not None and [layers for _, layers in found] != before:
        what = "other layers in its pools than before"
        raise _wrong(policy, "pools", what, f"{capacity_bytes} bytes", "only bytes change with the capacity")
    return found


def wishes(
    policy: Prefetch, event: Event, resident: Container[int], n_layers: int, keys_per_layer: int
) -> Sequence[Wish]:
    """Ask for wishes: each a version of an expert of the layer that it says it is for, 1 or more ahead."""
    answer = policy.wishes(event, resident)
    found = answer
    if type(answer) is not list and type(answer) is not tuple:
        found = _listed(policy, "wishes", answer, event)
    layer = event.layer
    for wish in found:
        if (
            type(wish) is not Wish
            or type(wish.key) is not int
            or type(wish.layer) is not int
            or wish.layer < 1
            or wish.key // keys_per_layer != (layer + wish.layer) % n_layers
        ):
            return [_wish(policy, wish, event, n_layers, keys_per_layer) for wish in found]
    return found


def _wish(policy: Prefetch, wish: object, event: Event, n_layers: int, keys_per_layer: int) -> Wish:
    if not isinstance(wish, Wish):
        raise _wrong(
            policy, "wishes", f"{_shown(wish)}, which is no Wish", event, "a Wish(key, layers ahead) each"
        )
    key, ahead = _whole(wish.key), _whole(wish.layer)
    if ahead is None or ahead < 1:
        hint = "it counts from the layer just routed: 1 is the next one"
        raise _wrong(policy, "wishes", f"a wish {_shown(wish.layer)} layers ahead", event, hint)
    due = (event.layer + ahead) % n_layers
    if key is None or key // keys_per_layer != due:
        what = f"{_shown(wish.key)}, which is no key of layer {due}, {ahead} ahead"
        first = due * keys_per_layer
        hint = f"layer {due} has the keys {first} to {first + keys_per_layer - 1}"
        raise _wrong(policy, "wishes", what, event, hint)
    return Wish(key, ahead, wish.score)


def placed(
    policy: Placement, event: Event, missed: Sequence[int], in_dram: Sequence[bool]
) -> Sequence[Placed]:
    """Ask where missed keys are computed: one ``Placed`` each, on the CPU only if the class uses it."""
    answer = policy.place(event, missed, in_dram)
    found: Sequence[Any] = answer
    if type(answer) is not list or len(answer) != len(missed):
        found = _listed(policy, "place", answer, event, len(missed), "missed key")
    known: object = None
    for one in found:
        if one is known:
            continue
        if (
            not isinstance(one, Placed)
            or not isinstance(one.place, Place)
            or type(one.defer_layers) is not int
            or one.defer_layers < 0
        ):
            hint = "Placed(Place.FETCH, Place.CPU or Place.SKIP, layers of deferral)"
            raise _wrong(policy, "place", f"{_shown(one)}, which is no placement", event, hint)
        if one.place is Place.CPU and not policy.uses_cpu:
            raise _wrong(
                policy, "place", "Place.CPU", event, "a class that uses the CPU says uses_cpu = True"
            )
        known = one
    return found


def wanted(policy: Precision, event: Event, n_versions: int) -> Sequence[int]:
    """Ask for the version of each key of the event, or UNWANTED."""
    answer = policy.wanted(event)
    found = _listed(policy, "wanted", answer, event, len(event.keys), "key")
    return [_version(policy, "wanted", one, event, n_versions, UNWANTED) for one in found]


def accepts(policy: Precision, version: int, wanted: int) -> bool:
    """Ask whether a version serves where another is wanted."""
    answer: Any = policy.accepts(version, wanted)
    return (
        answer if type(answer) is bool else _yes(policy, "accepts", answer, f"version {version} for {wanted}")
    )


def _version(
    policy: Precision, method: str, one: object, where: Where, n_versions: int, lowest: int = 0
) -> int:
    version = _whole(one)
    if version is None or not lowest <= version < n_versions:
        hint = f"one of 0 to {n_versions - 1}" + (" or UNWANTED" if lowest < 0 else "")
        raise _wrong(policy, method, f"{_shown(one)}, which is no version of this run", where, hint)
    return version


class Foreseen(Precision):
    """A precision policy as prefetchers see it: what it foresees is checked."""

    def __init__(self, policy: Precision, n_versions: int) -> None:
        self.policy, self.n_versions = policy, n_versions

    def wanted(self, event: Event) -> Sequence[int]:
        """Return what the policy says."""
        return wanted(self.policy, event, self.n_versions)

    def foreseen(
        self, experts: Sequence[Sequence[int]], weights: Sequence[Sequence[float]], layer: int
    ) -> Mapping[int, int]:
        """Return the version of experts that the policy says."""
        where = f"for layer {layer}"
        chosen, weighed = tuple(map(tuple, experts)), tuple(map(tuple, weights))
        answer = cast("object", self.policy.foreseen(chosen, weighed, layer))
        if not isinstance(answer, Mapping):
            raise _wrong(
                self.policy, "foreseen", f"{_shown(answer)}, which is no mapping", where, "{expert: version}"
            )
        return {
            expert: _version(self.policy, "foreseen", version, where, self.n_versions)
            for expert, version in answer.items()
        }

    def accepts(self, version: int, wanted: int) -> bool:
        """Return what the policy says."""
        return accepts(self.policy, version, wanted)


def rewritten(policy: Routing, event: Event, hit: Sequence[bool], n_experts: int) -> Sequence[int]:
    """Ask for the key that serves each key of the event: one of the same layer, or -1."""
    answer = policy.rewrite(event, hit)
    found = []
    for one in _listed(policy, "rewrite", answer, event, len(event.keys), "key"):
        key = _whole(one)
        if key is None or (key != -1 and key // n_experts != event.layer):
            first = event.layer * n_experts
            hint = f"layer {event.layer} has the keys {first} to {first + n_experts - 1}; -1 drops"
            raise _wrong(policy, "rewrite", f"{_shown(one)}, which is no expert of this layer", event, hint)
        found.append(key)
    return found


def asked_in_order(policy: Order | Admission, event: Event, keys: tuple[int, ...]) -> tuple[int, ...]:
    """Ask in which order keys come: the same keys, each once."""
    answer = policy.order(event, keys) if isinstance(policy, Order) else policy.order(keys, event.index)
    if answer is keys:
        return keys
    listed = _listed(policy, "order", answer, event, len(keys), "key")
    found = tuple(key for one in listed if (key := _whole(one)) is not None)
    if sorted(found) != sorted(keys):
        hint = "the same keys, each once, in another order"
        raise _wrong(policy, "order", f"{_shown(answer)} for {_shown(keys)}", event, hint)
    return found


def admits(policy: Admission, key: int, victim: int, event: Event) -> bool:
    """Ask whether a key takes the place of the victim."""
    answer: Any = policy.admits(key, victim, event.index)
    return answer if type(answer) is bool else _yes(policy, "admits", answer, event)


def assumptions(policy: Policy) -> list[str]:
    """Ask what a policy assumes: sentences."""
    answer: object = policy.assumptions()
    found = [answer] if isinstance(answer, str) else _listed(policy, "assumptions", answer, "after the run")
    for one in found:
        if not isinstance(one, str):
            raise _wrong(policy, "assumptions", _shown(one), "after the run", "a list of sentences, or []")
    return found


def _listed(
    policy: Policy, method: str, answer: Any, where: Where, length: int | None = None, each: str = ""
) -> list[Any]:
    """Return an answer as a list, of ``length`` where that is given: one for ``each``."""
    if type(answer) is not list and not isinstance(answer, Iterable):
        raise _wrong(policy, method, f"{_shown(answer)}, which is no list", where)
    found = answer if type(answer) is list else list(answer)
    if length is not None and len(found) != length:
        raise _wrong(policy, method, f"{len(found)} answers", where, f"one for each {each}: {length}")
    return found


def _whole(value: object) -> int | None:
    """Return a whole number as an int; None if it is none."""
    if isinstance(value, bool):
        return None
    try:
        return index(value)  # type: ignore[arg-type]  # that is what is tried
    except TypeError:
        return None


def _yes(policy: Policy, method: str, answer: object, where: Where) -> bool:
    """Return a truth value as a bool (NumPy's too)."""
    if isinstance(answer, bool | np.bool):
        return bool(answer)
    raise _wrong(policy, method, _shown(answer), where, "True or False")


def _shown(value: object) -> str:
    """Return a value as Python writes it, cut where it is long."""
    return reprlib.repr(value)


def _wrong(policy: Policy, method: str, what: str, where: Where, hint: str = "") -> PolicyError:
    place = where if isinstance(where, str) else f"layer {where.layer}, event {where.index}"
    return PolicyError(type(policy), method, f"returned {what} ({place})" + (f": {hint}" if hint else ""))
