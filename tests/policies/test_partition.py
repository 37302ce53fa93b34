"""How a capacity is divided over layers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.registry import create

sizes = st.lists(st.integers(1, 50), min_size=1, max_size=8)


def test_global_is_one_pool():
    [(capacity, layers)] = create("partition", "global").pools(100, [3, 4, 5])
    assert (capacity, list(layers)) == (100, [0, 1, 2])


@pytest.mark.parametrize(
    ("capacity", "layer_bytes", "slots"),
    [
        (60, [10, 10, 10], [2, 2, 2]),
        (80, [10, 10, 10], [3, 3, 2]),  # the remainder goes to the first layers
        (89, [10, 10, 10], [3, 3, 2]),  # and less than a slot to nobody
        (20, [10, 10, 10], [1, 1, 0]),
        (90, [10, 20], [3, 3]),  # unequal sizes: equal slots
        (75, [10, 20], [3, 2]),
        (80, [20, 10], [3, 2]),
        (70, [20, 10], [2, 3]),  # the first layer that it suffices for
    ],
)
def test_per_layer_has_equally_many_slots(capacity, layer_bytes, slots):
    pools = create("partition", "per-layer").pools(capacity, layer_bytes)
    assert [pool for pool, _ in pools] == [n * size for n, size in zip(slots, layer_bytes, strict=True)]


@given(capacity=st.integers(0, 10_000), layer_bytes=sizes)
def test_pools_are_a_partition_within_the_capacity(capacity, layer_bytes):
    for name in ("global", "per-layer"):
        pools = create("partition", name).pools(capacity, layer_bytes)
        assert [layer for _, layers in pools for layer in layers] == list(range(len(layer_bytes)))
        assert sum(size for size, _ in pools) <= capacity
    slots = [size // of for (size, _), of in zip(pools, layer_bytes, strict=True)]
    assert max(slots) - min(slots) <= 1
    assert capacity - sum(size for size, _ in pools) < max(layer_bytes)
