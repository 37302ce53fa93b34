"""Curves are the hits that the engine counts: by stack, by kernel and by replay, and by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simulator as moesim
from policies.base import Context, Eviction
from policies.registry import create
from simulator.curve import events
from simulator.curve.capacities import capacities
from simulator.curve.curve import Asked, Point, curve
from simulator.engine import checked
from simulator.engine.future import KnownFuture
from simulator.engine.replay import Replay
from simulator.errors import InputError
from simulator.trace.core import Trace, TraceHeader
from simulator.trace.parquet import write_trace
from simulator.trace.parts import take
from tests.command_line import moesim as command

RANKED = ("lru", "fifo", "lfu", "lfu-surviving", "belady")
SPEC: dict[str, Any] = {"lfu-surviving": {"name": "lfu", "survive_eviction": True}}


def trace_of(
    ids: Any, n_experts: int, phases: Sequence[int] | None = None, sequences: Sequence[int] | None = None
) -> Trace:
    experts = np.array(ids, dtype=np.int16)
    t, n_layers, k = experts.shape
    header = TraceHeader(
        model="x", n_layers=n_layers, n_experts=n_experts, top_k=k, moe_layers=tuple(range(n_layers)),
        n_model_layers=n_layers, recorder="test",
    )  # fmt: skip
    order = np.arange(t, dtype=np.int32)
    phase = np.array(phases or [1] * t, dtype=np.uint8)
    return Trace(header, np.array(sequences or [0] * t, dtype=np.int32), order, phase, experts)


def steps_of(trace: Trace) -> tuple[list[list[int]], list[bool]]:
    """Return the keys of each layer step, row by row in plain Python, and whether it decodes."""
    passes: list[tuple[object, list[int]]] = []
    for token in range(trace.n_tokens):
        decodes = bool(trace.phase[token])
        name = token if decodes else f"prompt {trace.sequence[token]}"
        if not passes or passes[-1][0] != name:
            passes.append((name, []))
        passes[-1][1].append(token)
    steps, decode = [], []
    for _, tokens in passes:
        for layer in range(trace.header.n_layers):
            keys = [
                layer * trace.header.n_experts + int(e)
                for t in tokens
                for e in trace.experts[t, layer]
                if e >= 0
            ]
            steps.append(list(dict.fromkeys(reversed(keys)))[::-1])
            decode.append(bool(trace.phase[tokens[0]]))
    return steps, decode


def replayed(asked: Asked, policy: str, capacity: int) -> tuple[float | None, float | None, int]:
    """Return both hit rates and the bytes read of the engine's replay, with the policies' own classes."""
    assert isinstance(asked.trace, Trace)
    header = asked.trace.header
    steps, decode = steps_of(asked.trace)
    context = Context(header.n_layers, header.n_experts, header.top_k, 1, 0, future=KnownFuture(steps))

    def make() -> Eviction:
        made = create("eviction", SPEC.get(policy, policy))
        made.bind(context)
        return made  # type: ignore[no-any-return]

    partition = create("partition", {"global": "global", "layer": "per-layer"}[asked.partition])
    run = Replay(checked.pools(partition, capacity, list(asked.sizes)), list(asked.sizes), make, asked.evict)
    hits, lookups, read = [0, 0], [0, 0], 0
    for index, keys in enumerate(steps):
        found = run.event(index, index % header.n_layers, keys)
        hits[decode[index]] += sum(found)
        lookups[decode[index]] += len(keys)
        read += (len(keys) - sum(found)) * asked.sizes[index % header.n_layers]
    rate = sum(hits) / sum(lookups) if sum(lookups) else None
    return rate, hits[1] / lookups[1] if lookups[1] else None, read


@st.composite
def askeds(draw: st.DrawFn) -> Asked:
    n_layers, n_experts, k = draw(st.integers(1, 3)), draw(st.integers(2, 6)), draw(st.integers(1, 2))
    chosen = st.permutations(range(n_experts)).map(lambda order: list(order[:k]))
    row = st.one_of(chosen, chosen, chosen, st.just([-1] * k))
    ids = draw(st.lists(st.lists(row, min_size=n_layers, max_size=n_layers), min_size=1, max_size=12))
    second, *prompts = (draw(st.integers(0, len(ids))) for _ in range(3))  # two sequences, each with a prompt
    lengths = second, len(ids) - second
    phases = [int(i >= prompt) for n, prompt in zip(lengths, prompts, strict=True) for i in range(n)]
    sizes = draw(
        st.one_of(st.just([2] * n_layers), st.lists(st.integers(1, 4), min_size=n_layers, max_size=n_layers))
    )
    return Asked(
        trace_of(ids, n_experts, phases, [0] * second + [1] * lengths[1]),
        sizes,
        draw(st.sampled_from(["global", "layer"])),
        draw(st.sampled_from(["on_insert", "after_event"])),
    )


@settings(max_examples=120)
@given(
    askeds(), st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True), st.sampled_from([1, 9, 400])
)
def test_every_point_is_what_the_replay_counts(asked: Asked, sizes: list[int], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "BLOCK", block)  # lookups: blocks end within prompts, too
        points = curve(asked, RANKED, sorted(sizes))
    for point in points:
        counted = replayed(asked, point.policy, point.capacity_bytes)
        assert (point.hit_rate, point.hit_rate_decode, point.read_bytes) == counted, (point, asked)


def test_a_file_is_read_in_blocks_and_counts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = take(moesim.read_trace("olmoe-mini"), slice(60))
    write_trace(trace, tmp_path / "t.parquet")
    policies = [*RANKED, "lfru"]
    points = curve(Asked(trace, [2] * 16, "layer"), policies, [100, 900])
    monkeypatch.setattr(events, "BLOCK", 16 * trace.header.top_k * 7)  # seven tokens
    read = curve(Asked(tmp_path / "t.parquet", [2] * 16, "layer"), policies, [100, 900])
    assert read == points


def test_a_stack_by_hand() -> None:
    """One layer, one expert a token: 0 1 0 2 1 0. LRU distances: -, -, 1, -, 2, 2."""
    asked = Asked(trace_of([[[e]] for e in (0, 1, 0, 2, 1, 0)], 3), [1])
    found = curve(asked, ["lru"], [1, 2, 3])
    assert [point.method for point in found] == ["stack"] * 3
    assert [round(6 * (point.hit_rate or 0)) for point in found] == [0, 1, 3]


def test_distances_by_brute_force_on_a_long_stream() -> None:
    """Long enough that the places of the tree run out many times."""
    stream = np.random.default_rng(0).zipf(1.3, 4000) % 7
    asked = Asked(trace_of([[[key]] for key in stream], 7), [1])
    recent: list[int] = []
    found = []
    for key in stream.tolist():
        found.append(recent.index(key) if key in recent else 7)
        recent = [key, *(other for other in recent if other != key)]
    for slots, point in enumerate(curve(asked, ["lru"], [*range(1, 8)]), start=1):
        assert point.hit_rate == sum(distance < slots for distance in found) / len(stream)


def test_curves_equal_runs_of_the_full_engine() -> None:
    trace = moesim.read_trace("olmoe-mini")
    trace = take(trace, trace.sequence < 1)
    size = 3 * 2048 * 1024 * 2
    run = {
        "name": "t",
        "model": "olmoe-1b-7b",
        "hardware": "rtx4090-pcie4",
        "software": "ideal",
        "trace": "olmoe-mini",
        "workload": {"max_sequences": 1},
    }
    for partition, axis in (("global", "global"), ("layer", "per-layer")):
        for evict in ("on_insert", "after_event"):
            asked = Asked(trace, [size] * 16, partition, evict)  # type: ignore[arg-type]  # two words each
            policy = "lru" if evict == "on_insert" else "lfu"
            (point,) = curve(asked, [policy], [300 * size])
            played = moesim.run(
                run | {"memory": {"gpu_expert_cache": f"{300 * size} B"}},
                {"policies.eviction": policy, "policies.partition": axis, "runtime.evict": evict},
            ).summary
            assert point.hit_rate == played["hit_rate"].item()
            assert point.hit_rate_decode == played["hit_rate_decode"].item()


def test_any_other_policy_is_replayed_and_learners_are_refused() -> None:
    asked = Asked(moesim.read_trace("olmoe-mini"), [1] * 16)
    (point,) = curve(Asked(trace_of([[[0], [1]], [[1], [0]]], 2), [1, 1]), ["lfru"], [2])
    assert point.method == "replay"
    with pytest.raises(InputError, match="static-popularity learns beforehand"):
        curve(asked, ["static-popularity"], [100])
    with pytest.raises(InputError, match="unknown policy 'lruu'"):
        curve(asked, ["lruu"], [100])


def test_more_cache_never_hits_less_under_lru_and_belady() -> None:
    asked = Asked(moesim.read_trace("olmoe-mini"), [1] * 16)
    for policy in ("lru", "belady"):
        rates = [point.hit_rate or 0 for point in curve(asked, [policy], [16, 64, 128, 256, 512, 1024])]
        assert rates == sorted(rates)
        assert rates[-1] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("16,64", [32, 128]),
        ("50%", [128]),
        ("1KiB, 256 B", [256, 1024]),
        ("all", [2 * n for n in range(1, 129)]),
    ],
)
def test_sizes_in_any_dress(text: str, found: list[int]) -> None:
    assert capacities(text, [2] * 16, 8) == found


def test_a_size_that_is_none_is_refused() -> None:
    for text in ("", "0", "much", "-5%"):
        with pytest.raises(InputError, match="--capacities: "):
            capacities(text, [2] * 16, 8)


def test_the_command_writes_csv_json_and_a_figure(tmp_path: Path) -> None:
    words = ("curve", "olmoe-mini", "--policies", "lru,belady", "--capacities", "10%,25%")
    done = command(tmp_path, *words, "-o", "c.csv", "--figure", "c.png")
    assert done.returncode == 0, done.stderr
    rows = [*csv.DictReader((tmp_path / "c.csv").read_text().splitlines())]
    assert [*rows[0]] == [*Point.__dataclass_fields__]
    assert (tmp_path / "c.png").stat().st_size > 5000
    printed = json.loads(command(tmp_path, *words, "--json").stdout)
    assert [f"{row['hit_rate']}" for row in printed] == [row["hit_rate"] for row in rows]
    assert printed[0]["capacity_bytes"] == 16 * 64 * 3 * 128 * 64 * 4 // 10  # a tenth of all, in fp32
    again = command(tmp_path, *words, "-o", "c.csv")
    assert (again.returncode, again.stdout) == (2, "")
    refused = command(tmp_path, *words, "--model", "mixtral-8x7b")
    assert refused.returncode == 2
    assert "mixtral-8x7b has 32 x 8 experts" in refused.stderr
