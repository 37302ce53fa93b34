"""Policies as objects of this process: their names, their copies, and what is known of them."""

from __future__ import annotations

import pytest

from policies.eviction.lfu import LFU
from policies.eviction.lru import LRU
from policies.offered import kind_of, offer
from policies.origin import origin
from policies.registry import create, defaults, learns_beforehand, source
from simulator.errors import InputError


class Mine(LRU):
    """As LRU, so far."""


def test_a_class_is_made_anew_and_an_object_is_copied() -> None:
    name = offer("eviction", Mine)
    assert (name, offer("eviction", Mine), kind_of("eviction", name)) == ("Mine (object)", name, Mine)
    assert isinstance(create("eviction", name), Mine)
    assert source("eviction", name) is None
    assert not learns_beforehand("eviction", name)
    given = LFU(survive_eviction=True)
    first, second = (create("eviction", offer("eviction", given)) for _ in range(2))
    assert first.survive_eviction
    assert len({id(given), id(first), id(second)}) == 3
    counted = create("eviction", {"name": offer("eviction", LFU), "survive_eviction": True})
    assert counted.survive_eviction
    assert defaults("eviction", offer("eviction", LFU)) == {"survive_eviction": False}


def test_two_of_one_name_are_told_apart() -> None:
    first, second = LRU(), LRU()
    names = {offer("eviction", first), offer("eviction", second)}
    assert len(names) == 2
    assert kind_of("eviction", "nobody") is None


def test_what_it_is_made_of_is_known_as_far_as_its_text() -> None:
    found = origin("eviction", offer("eviction", Mine))
    assert found is not None
    assert [*found.files] == ["Mine (object)"]
    assert "what it uses is not known" in found.unknown[0]
    nowhere = type("Nowhere", (LRU,), {"__module__": "nowhere"})
    hidden = origin("eviction", offer("eviction", nowhere))
    assert hidden is not None
    assert hidden.files == {}


def test_what_is_no_policy_of_the_axis_is_refused() -> None:
    with pytest.raises(InputError, match="Mine is no prefetch policy"):
        offer("prefetch", Mine)
    with pytest.raises(InputError, match="unknown axis 'evict'"):
        offer("evict", Mine)
    with pytest.raises(InputError, match="has its parameters already"):
        create("eviction", {"name": offer("eviction", LFU()), "survive_eviction": True})
