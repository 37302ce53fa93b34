"""SRP and SCH against oracles written from their definitions, which share no code with what they test."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.trace.core import Trace
from simulator.trace.importers.registry import import_trace
from simulator.trace.locality.analyse import Locality, analyse
from simulator.trace.locality.published import compare
from simulator.trace.locality.sch import RATIOS, count_hits
from simulator.trace.locality.srp import SEGMENTS, best
from simulator.trace.locality.verdict import judge
from tests.trace.examples import RECORDED, needs_recorded
from tests.trace.locality.test_locality import at, made, plain, same, traces


def windows(trace):
    """Return the windows of a trace as lists: token, layer."""
    for tokens in plain(trace):
        whole = range(0, len(tokens) - 511, 512) if len(tokens) > 512 else [0]
        yield from (tokens[start : start + 512] for start in whole)


def srp_oracle(trace, m, layers):
    """Return SRP and rho_hat by trying every alpha on a list of all f."""
    f = []
    for tokens in windows(trace):
        for start in range(len(tokens) - m + 1):
            for layer in layers:
                rows = [token[layer] for token in tokens[start : start + m]]
                if None not in rows:
                    f += [sum(e in row for row in rows) for e in range(trace.header.n_experts)]
    if not sum(f):
        return None, None
    scores = []
    for alpha in range(m + 1):
        predicted = [n for n in f if n >= alpha]
        above, below = 2 * sum(predicted), m * len(predicted) + sum(f)
        scores.append((Fraction(above, below), -alpha, Fraction(m * len(predicted), sum(f))))
    value, _, size = max(scores)
    return value, size


def sch_oracle(demands, m, size):
    """Return the hits of one cache by playing its definition, an expert at a time."""
    cache, seen, last, clock, hits = set(), set(), {}, 0, 0
    for now, demand in enumerate(demands):
        hits += sum(expert in cache for expert in demand)
        for expert in demand:
            if expert not in seen:
                hits += len(seen) < size  # a first use, and the cache is not full yet
                seen.add(expert)
        done = set()
        for expert in demand:
            if expert not in cache:
                if len(cache) == size:
                    ahead = demands[now : now + m]
                    cache.remove(
                        min(cache, key=lambda e: (sum(e in d for d in ahead) - (e in done), last[e]))
                    )
                cache.add(expert)
            clock += 1
            last[expert] = clock
            done.add(expert)
    return hits


def demands_of(tokens, n_experts):
    return [[n_experts * layer + e for layer, row in enumerate(token) for e in row or []] for token in tokens]


@settings(max_examples=60)
@given(trace=traces(longest=22))
def test_srp_agrees_with_its_definition(trace):
    found, layers = analyse(trace), range(trace.header.n_layers)
    for m in SEGMENTS:
        value, size = srp_oracle(trace, m, layers)
        assert same(at(found, "srp", m=m), value)
        assert same(at(found, "srp_rho", m=m), size)
        for layer in layers:
            own = [r.value for r in found.rows if (r.statistic, r.layer, r.m) == ("srp", layer, m)]
            expected = srp_oracle(trace, m, [layer])[0]
            assert len(own) == (expected is not None)
            assert all(same(one, expected) for one in own)


@settings(max_examples=60)
@given(trace=traces(longest=22))
def test_sch_agrees_with_its_definition(trace):
    found, header = analyse(trace), trace.header
    for m in SEGMENTS:
        long_enough = [demands_of(w, header.n_experts) for w in windows(trace) if len(w) >= m]
        uses = sum(len(demand) for demands in long_enough for demand in demands)
        for rho in RATIOS:
            size = int(rho * header.top_k * header.n_layers)
            hits = sum(sch_oracle(demands, m, size) for demands in long_enough)
            assert same(at(found, "sch", m=m, rho=rho), Fraction(hits, uses) if uses else None)


@settings(max_examples=150)
@given(
    demands=st.lists(st.lists(st.integers(0, 11), unique=True, max_size=5), max_size=25),
    m=st.integers(1, 9),
    size=st.integers(5, 12),
)
def test_hits_agree_with_the_definition_at_any_size(demands, m, size):
    arrays = [np.array(demand, dtype=np.int64) for demand in demands]
    assert count_hits(arrays, 12, m, [size]) == [sch_oracle(demands, m, size)]


def test_long_windows_agree_too():
    trace = made([600, 300], layers=2, experts=5, k=2, seed=5, missing=0.02)
    found = analyse(trace)
    for m in SEGMENTS:
        value, size = srp_oracle(trace, m, range(2))
        assert same(at(found, "srp", m=m), value)
        assert same(at(found, "srp_rho", m=m), size)
        demands = [demands_of(tokens, 5) for tokens in windows(trace)]
        hits = sum(sch_oracle(each, m, 6) for each in demands)
        assert same(at(found, "sch", m=m, rho=1.5), Fraction(hits, sum(len(d) for w in demands for d in w)))


def test_the_same_experts_every_token_are_perfect():
    trace = made([64], layers=2, experts=6)
    trace.experts[:] = trace.experts[:1]
    found = analyse(trace)
    for m in (4, 16, 64):
        assert (found.value("srp", m=m), found.value("srp_rho", m=m)) == (1.0, 1.0)
        assert found.value("sch", m=m, rho=1.0) == 1.0  # the first uses fill the cache, and count as found
    assert found.of("srp", m=256).note == "no window of 256 recorded tokens"
    assert found.of("sch", m=256, rho=1.0).note == "no window of 256 tokens"


def test_experts_in_turn_are_as_bad_as_can_be():
    trace = made([60], layers=1, experts=6, k=1)
    trace.experts[:, 0, 0] = np.arange(60) % 6
    found = analyse(trace)
    # in 4 tokens 4 of 6 experts are active once each: predicting those (alpha 1) scores 2 * 4 / (4 * 4 + 4)
    assert found.value("srp", m=4) == pytest.approx(2 / 5)
    assert found.value("srp_rho", m=4) == pytest.approx(4.0)
    assert found.value("sch", m=4, rho=1.0) == pytest.approx(1 / 60)  # only the very first


def test_srp_of_nothing_is_nan():
    value, size = best(np.array([[5, 0, 0], [2, 1, 0]]))
    assert np.isnan(value[0])
    assert np.isnan(size[0])
    assert value[1] == pytest.approx(2 / 3)


# name: format; SRP (m = 16) and SCH (m = 16, rho = 2) here; the paper's, in percent, where it has the model
RECORDINGS = {
    "bigmoe/qwen.route.csv": ("bigmoe", 0.4533, 0.6771, 54.14, (76.49, 77.46)),
    "qwen1.5-moe": ("qwen1.5-json", 0.2967, 0.4397, 30.71, (45.79, 46.50)),
    "gpt-oss-20b/decode-80seq.npz": ("gpt-oss-npz", 0.5423, 0.7843, None, None),
}


def recorded(name) -> Locality:
    """Analyse a recording; of gpt-oss-20b eight of 80 sequences, which is enough and not slow."""
    trace = import_trace(RECORDED / name, RECORDINGS[name][0])
    n = int((trace.sequence < 8).sum())
    arrays = {field: getattr(trace, field)[:n] for field in ("sequence", "position", "phase", "experts")}
    return analyse(Trace(trace.header, **arrays))


@needs_recorded
@pytest.mark.parametrize("name", list(RECORDINGS))
def test_recorded_traces_beside_the_paper(name):
    _, srp, sch, paper_srp, paper_sch = RECORDINGS[name]
    found = recorded(name)
    assert found.value("srp", m=16) == pytest.approx(srp, abs=5e-5)
    assert found.value("sch", m=16, rho=2.0) == pytest.approx(sch, abs=5e-5)
    published = compare(found)
    if paper_srp is None:
        assert published is None
        return
    pairs = {(pair.statistic, pair.m): pair for pair in published.comparisons}
    assert pairs["srp", 16].published_low == pytest.approx(paper_srp / 100)
    assert pairs["sch", 16].published_low == pytest.approx(paper_sch[0] / 100)
    assert pairs["sch", 16].published_high == pytest.approx(paper_sch[1] / 100)
    assert published.reasons


@needs_recorded
def test_qwen15_is_where_the_paper_has_it():
    """Same model, other text, 4 short sequences: the paper's SRP is in the interval, SCH within 2.5 %."""
    found = recorded("qwen1.5-moe")
    srp = found.of("srp", m=16)
    assert srp.low < 0.3071 < srp.high
    assert found.value("sch", m=16, rho=2.0) == pytest.approx((0.4579 + 0.4650) / 2, abs=0.025)
    assert found.value("sch", m=64, rho=2.0) == pytest.approx((0.3473 + 0.3550) / 2, abs=0.025)
    assert judge(found).suits == "poorly"


@needs_recorded
def test_reused_experts_by_lag_are_those_of_the_readme():
    found = analyse(import_trace(RECORDED / "qwen1.5-moe", "qwen1.5-json"), "decode")
    expected = (0.188 + 0.165 + 0.164 + 0.153) / 4  # as many decoded tokens in each
    assert found.value("reuse", lag=1) == pytest.approx(expected, abs=0.002)
