"""The workload: which tokens run together, and what they demand; and what fits, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.assemble.code import Code
from simulator.assemble.costs import ModelCosts, Span
from simulator.assemble.machine import cache_bytes
from simulator.assemble.workload import Batch, Workload, batches
from simulator.engine.demand import PassCosts
from simulator.errors import InputError
from simulator.experiment.schema import CacheSize
from simulator.machine.hardware import load_hardware
from simulator.machine.software import load_software
from simulator.model.load import load_model
from simulator.trace.core import Trace, TraceHeader

L, E, K = 2, 6, 2


def trace(lengths: list[tuple[int, int]], experts: np.ndarray | None = None) -> Trace:
    """Return sequences of (prompt tokens, decoded tokens)."""
    n = sum(a + b for a, b in lengths)
    header = TraceHeader(
        model="m", n_layers=L, n_experts=E, top_k=K, moe_layers=(0, 1), n_model_layers=L, recorder="test"
    )
    sequence = np.repeat(np.arange(len(lengths), dtype=np.int32), [a + b for a, b in lengths])
    position = np.concatenate([np.arange(a + b, dtype=np.int32) for a, b in lengths])
    phase = np.concatenate([np.array([0] * a + [1] * b, np.uint8) for a, b in lengths])
    if experts is None:
        experts = np.tile(np.array([[0, 1], [2, 3]], np.int16), (n, 1, 1))
    weights = np.tile(np.array([0.6, 0.2], np.float32), (n, L, 1))
    return Trace(header, sequence, position, phase, experts, weights)


def schedule(lengths: list[tuple[int, int]], **options: int | bool | None) -> list[Batch]:
    given = {"batch_size": 1, "prefill_chunk": 0, "mixed": False}
    cuts = {"max_sequences": None, "max_decode_tokens": None}
    return list(batches(trace(lengths), **(given | cuts | options)))  # type: ignore[arg-type]


def test_one_at_a_time_a_prompt_is_one_pass_and_then_each_token() -> None:
    assert schedule([(3, 2), (1, 1)]) == [
        Batch((0, 1, 2), decode=False, starts=True),
        Batch((3,), decode=True, starts=False),
        Batch((4,), decode=True, starts=False),
        Batch((5,), decode=False, starts=True),
        Batch((6,), decode=True, starts=False),
    ]


def test_a_prompt_is_cut_in_chunks() -> None:
    assert [b.rows for b in schedule([(5, 1)], prefill_chunk=2)] == [(0, 1), (2, 3), (4,), (5,)]


def test_a_slot_is_refilled_when_its_sequence_ends() -> None:
    rows = [b.rows for b in schedule([(0, 1), (0, 3), (1, 2)], batch_size=2)]
    assert rows == [(0, 1), (4,), (2, 5), (3, 6)]


def test_mixed_passes_join_a_chunk_to_the_decoding_of_the_others() -> None:
    found = schedule([(0, 3), (3, 1)], batch_size=2, prefill_chunk=2, mixed=True)
    assert [b.rows for b in found] == [(0, 3, 4), (1, 5), (2, 6)]
    assert [b.decode for b in found] == [False, False, True]


def test_a_sequence_without_decoded_tokens_is_prefilled_and_leaves() -> None:
    assert [b.rows for b in schedule([(2, 0), (1, 1)], batch_size=2)] == [(0, 1), (2,), (3,)]


def test_only_so_many_sequences_run() -> None:
    assert [b.rows for b in schedule([(0, 1), (0, 1)], max_sequences=1)] == [(0,)]


def test_max_decode_tokens_leaves_prompts_whole() -> None:
    cut = schedule([(3, 4), (0, 3), (2, 0)], max_decode_tokens=2)
    assert [b.rows for b in cut] == [(0, 1, 2), (3,), (4,), (7,), (8,), (10, 11)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5).filter(
        lambda found: all(a + b for a, b in found)
    ),
    st.integers(1, 3),
    st.integers(0, 3),
    st.booleans(),
)
def test_every_token_runs_once_and_in_order(
    lengths: list[tuple[int, int]], batch_size: int, chunk: int, mixed: bool
) -> None:
    found = schedule(lengths, batch_size=batch_size, prefill_chunk=chunk, mixed=mixed)
    rows = [row for batch in found for row in batch.rows]
    assert sorted(rows) == list(range(len(rows)))
    assert len(rows) == sum(a + b for a, b in lengths)
    sequence = trace(lengths).sequence
    for s in range(len(lengths)):
        own = [row for row in rows if sequence[row] == s]
        assert own == sorted(own)
    if not mixed:
        assert all(len({bool(trace(lengths).phase[row]) for row in b.rows}) == 1 for b in found)


class NoCosts:
    """Costs nothing."""

    def pass_costs(self, spans: list[Span], *, decode: bool = True) -> PassCosts:
        del spans, decode
        return PassCosts(0, 0, [0] * L, [0] * L, [0] * L)

    def launches(self, *, decode: bool) -> None:
        del decode


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_union_is_in_order_of_last_occurrence(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 5))
    one = st.lists(st.integers(0, E - 1), min_size=K, max_size=K, unique=True)
    missing = st.just([-1] * K)
    rows = data.draw(st.lists(st.lists(one | missing, min_size=L, max_size=L), min_size=n, max_size=n))
    recorded = trace([(n, 0)], np.array(rows, np.int16))
    work = Workload(recorded, [Batch(tuple(range(n)), decode=False, starts=True)], NoCosts(), with_mass=True)  # type: ignore[arg-type]
    (p,) = list(work)
    for layer in range(L):
        seen: dict[int, tuple[int, float]] = {}
        for token in rows:
            for slot, expert in enumerate(token[layer]):
                if expert >= 0:
                    key = layer * E + expert
                    tokens, mass = seen.pop(key, (0, 0.0))
                    seen[key] = (tokens + 1, mass + (0.75, 0.25)[slot])
        assert list(p.demands[layer]) == list(seen)
        if p.tokens is not None:
            assert list(p.tokens[layer]) == [tokens for tokens, _ in seen.values()]
        assert p.gate_mass is not None
        assert list(p.gate_mass[layer]) == pytest.approx([mass for _, mass in seen.values()])


def costs_on_a_4090(model: str, precisions: list[str]) -> ModelCosts:
    machine = load_hardware("rtx4090-pcie4")
    code = Code(load_software("ideal"), machine.main_unit, machine.compute.cpu)
    return ModelCosts(load_model(model), code, precisions)


def test_mixtral_on_a_4090_by_hand() -> None:
    costs = costs_on_a_4090("mixtral-8x7b", ["fp16", "Q4_0"])
    unit = load_hardware("rtx4090-pcie4").main_unit
    bandwidth, rate = unit.effective_bytes_per_s, unit.effective_flops_per_s
    launch = unit.launch.value
    expert = 3 * 4096 * 14336
    assert costs.expert_ns(0, 0, 1) == -(-2 * expert * 10**9 // bandwidth) + 3 * launch
    assert costs.expert_ns(0, 0, 4096) == -(-2 * expert * 4096 * 10**9 // rate) + 3 * launch
    attention = 4096 * 4096 * 2 + 2 * 4096 * 1024  # q and o; k and v of 8 heads
    kv = 2 * 8 * 128 * 2 * 101  # fp16 keys and values of 100 cached tokens and this one
    gate = -(-2 * 4096 * 8 * 10**9 // bandwidth) + 2 * launch
    one = costs.pass_costs([Span(100, 1)])
    assert one.before_ns == [-(-(2 * attention + kv) * 10**9 // bandwidth) + 4 * launch + gate] * 32
    assert one.epilogue_ns == -(-2 * 4096 * 32000 * 10**9 // bandwidth) + 2 * launch
    assert one.prologue_ns == -(-2 * 4096 * 10**9 // bandwidth) + launch
    assert costs.kv_bytes(1) == 32 * 2 * 8 * 128 * 2


def test_a_router_before_attention_lets_attention_run_after_routing() -> None:
    costs = costs_on_a_4090("smallthinker-4b", ["fp16"]).pass_costs([Span(0, 1)])
    assert costs.before_ns[0] < costs.after_ns[0]


def test_dense_layers_before_the_first_moe_layer_are_paid_there() -> None:
    costs = costs_on_a_4090("deepseek-v2-lite", ["fp16"]).pass_costs([Span(0, 1)])
    assert len(costs.before_ns) == 26
    assert costs.before_ns[0] > costs.before_ns[1] == costs.before_ns[25]


def test_cache_sizes() -> None:
    sizes = (10, 30)
    assert cache_bytes("m", CacheSize(fraction=0.5), sizes, 8, 0) == 160
    assert cache_bytes("m", CacheSize(experts_per_layer=3), sizes, 8, 0) == 120
    with pytest.raises(InputError, match="less than one expert"):
        cache_bytes("m", CacheSize(fraction=0.05), sizes, 8, 0)
    with pytest.raises(InputError, match="9 experts a layer of 8"):
        cache_bytes("m", CacheSize(experts_per_layer=9), sizes, 8, 0)
