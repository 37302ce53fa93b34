"""What the policies of the other axes promise of what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from policies.base import UNWANTED, Place, Placed, Placement, Wish
from policies.contract.asked import Asked, each_answer
from policies.contract.rule import BrokenRuleError, Make, Rule, is_whole, is_yes_or_no


def check_wishes_are_for_later_layers(make: Make) -> None:
    """``wishes`` lists a ``Wish`` each: 1 or more layers ahead, for a version key of the layer there."""
    for asked in each_answer(make, "wishes"):
        context, layer = asked.policy.context, asked.step.layer
        n_keys = context.n_experts * context.n_versions
        for wish in _list_of(asked):
            if not isinstance(wish, Wish):
                raise BrokenRuleError("a Wish", f"{wish!r} among {asked}")
            if not is_whole(wish.layer) or wish.layer < 1:
                raise BrokenRuleError("a wish for 1 or more layers ahead", f"{wish} in {asked}")
            due = (layer + wish.layer) % context.n_layers
            if not is_whole(wish.key) or wish.key // n_keys != due:
                allowed = f"a key from {due * n_keys} to {(due + 1) * n_keys - 1}, those of layer {due}"
                raise BrokenRuleError(allowed, f"{wish} in {asked}")


def check_order_keeps_every_key(make: Make) -> None:
    """``order`` returns the keys that it was given, each once."""
    for asked in each_answer(make, "order"):
        found, keys = _list_of(asked), asked.given[0]
        if not all(map(is_whole, found)) or sorted(found) != sorted(keys):
            raise BrokenRuleError(f"the keys {list(keys)} in some order", str(asked))


def check_admits_says_yes_or_no(make: Make) -> None:
    """``admits`` returns True or False."""
    for asked in each_answer(make, "admits"):
        _yes_or_no(asked)


def check_every_layer_is_in_one_pool(make: Make) -> None:
    """``pools`` lists (bytes, layers) for each pool, and each layer is in exactly one of them."""
    for asked in each_answer(make, "pools"):
        n_layers = len(asked.given[1])
        pools = _list_of(asked)
        if not all(isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], list) for one in pools):
            raise BrokenRuleError("(bytes, layers) for each pool", str(asked))
        layers = list(chain.from_iterable(layers for _, layers in pools))
        if not all(map(is_whole, layers)) or sorted(layers) != list(range(n_layers)):
            raise BrokenRuleError(f"each layer from 0 to {n_layers - 1} once", str(asked))


def check_pools_fit_the_capacity(make: Make) -> None:
    """The bytes of all ``pools`` are ints of 0 or more, and no more than the capacity together."""
    for asked in each_answer(make, "pools"):
        sizes = [size for size, _ in _list_of(asked)]
        if not all(is_whole(size) and size >= 0 for size in sizes) or sum(sizes) > asked.given[0]:
            raise BrokenRuleError(f"whole bytes, at most {asked.given[0]} together", str(asked))


def check_layers_stay_in_their_pools(make: Make) -> None:
    """Where the capacity changes, ``pools`` has the same layers in the same pools."""
    before: dict[int, object] = {}
    for asked in each_answer(make, "pools"):
        layers = [layers for _, layers in _list_of(asked)]
        n = asked.policy.context.n_versions
        if before.setdefault(n, layers) != layers:
            raise BrokenRuleError(f"pools of the layers {before[n]} at every capacity", str(asked))


def check_wanted_answers_for_each_key(make: Make) -> None:
    """``wanted`` has a version of the run, or UNWANTED, for each key of the event."""
    for asked in each_answer(make, "wanted"):
        n = asked.policy.context.n_versions
        for version in _list_of(asked, len(asked.step.keys)):
            if not is_whole(version) or not UNWANTED <= version < n:
                raise BrokenRuleError(f"versions from 0 to {n - 1}, or UNWANTED", str(asked))


def check_foreseen_maps_experts_to_versions(make: Make) -> None:
    """``foreseen`` maps experts of the predicted choices to versions of the run."""
    for asked in each_answer(make, "foreseen"):
        n, found = asked.policy.context.n_versions, asked.answer
        if not isinstance(found, Mapping):
            raise BrokenRuleError("a mapping of experts to versions", str(asked))
        predicted = {*chain.from_iterable(asked.given[0])}
        if not all(key in predicted and is_whole(v) and 0 <= v < n for key, v in found.items()):
            raise BrokenRuleError(
                f"versions from 0 to {n - 1} of experts among {sorted(predicted)}", str(asked)
            )


def check_accepts_says_yes_or_no(make: Make) -> None:
    """``accepts`` returns True or False."""
    for asked in each_answer(make, "accepts"):
        _yes_or_no(asked)


def check_place_answers_for_each_missed_key(make: Make) -> None:
    """``place`` has a ``Placed`` for each missed key, deferred by 0 or more layers."""
    for asked in each_answer(make, "place"):
        for one in _list_of(asked, len(asked.given[0])):
            if not isinstance(one, Placed) or not isinstance(one.place, Place):
                raise BrokenRuleError("a Placed with a Place for each missed key", str(asked))
            if not is_whole(one.defer_layers) or one.defer_layers < 0:
                raise BrokenRuleError("a deferral of 0 or more layers", str(asked))


def check_the_cpu_is_announced(make: Make) -> None:
    """``place`` names ``Place.CPU`` only if the class says ``uses_cpu = True``."""
    for asked in each_answer(make, "place"):
        assert isinstance(asked.policy, Placement)
        if not asked.policy.uses_cpu and any(one.place is Place.CPU for one in _list_of(asked)):
            raise BrokenRuleError("uses_cpu = True in the class, or nothing on the CPU", str(asked))


def check_rewrite_answers_for_each_key(make: Make) -> None:
    """``rewrite`` has, for each key of the event, a key of the same layer, or -1 to drop it."""
    for asked in each_answer(make, "rewrite"):
        n, layer = asked.policy.context.n_experts, asked.step.layer
        for key in _list_of(asked, len(asked.step.keys)):
            if not is_whole(key) or (key != -1 and key // n != layer):
                allowed = f"keys from {layer * n} to {(layer + 1) * n - 1}, those of layer {layer}, or -1"
                raise BrokenRuleError(allowed, str(asked))


def _list_of(asked: Asked, length: int | None = None) -> list[Any]:
    """Return an answer that is a list, of ``length`` where that is given. Errors: BrokenRuleError."""
    found = asked.answer
    if not isinstance(found, list):
        raise BrokenRuleError("a list", str(asked))
    if length is not None and len(found) != length:
        raise BrokenRuleError(f"one answer for each key, {length} in all", f"{len(found)} answers, {asked}")
    return found


def _yes_or_no(asked: Asked) -> None:
    if not is_yes_or_no(asked.answer):
        raise BrokenRuleError("True or False", str(asked))


RULES: Mapping[str, tuple[Rule, ...]] = {
    "admission": (check_order_keeps_every_key, check_admits_says_yes_or_no),
    "partition": (
        check_every_layer_is_in_one_pool,
        check_pools_fit_the_capacity,
        check_layers_stay_in_their_pools,
    ),
    "prefetch": (check_wishes_are_for_later_layers,),
    "precision": (
        check_wanted_answers_for_each_key,
        check_foreseen_maps_experts_to_versions,
        check_accepts_says_yes_or_no,
    ),
    "placement": (check_place_answers_for_each_missed_key, check_the_cpu_is_announced),
    "routing": (check_rewrite_answers_for_each_key,),
    "order": (check_order_keeps_every_key,),
}
