"""Synthetic traces: closed forms in limit cases, the same bytes everywhere, odd input refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.trace.core import DECODE, PREFILL, Trace
from simulator.trace.info import lag1_reuse, top_share
from simulator.trace.synth import draws, generate
from simulator.trace.synth.generate import synthesise
from simulator.trace.synth.like import joined
from simulator.trace.synth.parameters import Parameters
from simulator.trace.synth.routing import draw_domains
from simulator.trace.synth.shape import header_of
from simulator.trace.validate import validate

PLAIN = {"skew": 0, "stickiness": 0, "coupling": 0, "domain_strength": 0, "drift": 0}


def drawn(kind: str = "renormalised", **given) -> Trace:
    """Return a trace of ``given``, everything else switched off, as one chunk."""
    shape = {"layers": 4, "experts": 16, "top_k": 2, "sequences": 16, "prefill": 0, "decode": 500}
    parameters = Parameters(**{**shape, **PLAIN, **given})
    header = header_of(parameters).model_copy(update={"weights": kind})
    (trace,) = synthesise(parameters, header)
    return trace


def everything(trace: Trace) -> np.ndarray:
    return np.ones(trace.n_tokens, dtype=bool)


def test_uniform_independent_routing_repeats_by_chance() -> None:
    trace = drawn()
    assert lag1_reuse(trace, everything(trace)) == pytest.approx(2 / 16, abs=0.004)
    assert top_share(trace, everything(trace)) == pytest.approx(2 / 16, abs=0.01)


def test_boundless_stickiness_never_changes_experts() -> None:
    trace = drawn(stickiness=50)  # the second choice keeps 25 nats, which Gumbel noise does not reach
    assert lag1_reuse(trace, everything(trace)) == pytest.approx(1, abs=1e-4)


def test_boundless_coupling_makes_each_layer_a_relabelling_of_the_first() -> None:
    trace = drawn(coupling=50)
    first, last = trace.experts[:, 0], trace.experts[:, 3]
    heirs = {}
    for before, after in zip(first, last, strict=True):
        heirs.setdefault(frozenset(before.tolist()), set()).add(frozenset(after.tolist()))
    assert all(len(sets) == 1 for sets in heirs.values())
    assert len({next(iter(sets)) for sets in heirs.values()}) == len(heirs)
    assert lag1_reuse(trace, everything(trace)) == pytest.approx(2 / 16, abs=0.006)


def test_skewed_popularity_is_a_zipf_law() -> None:
    trace = drawn(skew=1.2, top_k=1, layers=2, experts=8)
    zipf = np.arange(1, 9) ** -1.2
    zipf /= zipf.sum()
    for layer in range(2):
        share = np.bincount(trace.experts[:, layer, 0], minlength=8) / trace.n_tokens
        np.testing.assert_allclose(np.sort(share)[::-1], zipf, atol=0.02)


def test_stickiness_of_one_expert_is_a_markov_chain() -> None:
    trace = drawn(stickiness=2, top_k=1)
    stays = np.exp(2) / (np.exp(2) + 15)  # softmax of 2 among 15 zeros
    assert lag1_reuse(trace, everything(trace)) == pytest.approx(stays, abs=0.01)


def test_later_choices_stick_by_their_rank() -> None:
    trace = drawn(stickiness=3, experts=64, layers=8)
    before, after = trace.experts[:-1], trace.experts[1:]
    same = trace.sequence[1:] == trace.sequence[:-1]
    kept = [(before[same][..., rank, None] == after[same]).any(-1).mean() for rank in range(2)]
    assert kept[0] > 2 * kept[1] > 4 * 2 / 64


def test_domains_change_at_the_rate_of_drift() -> None:
    parameters = Parameters(layers=1, experts=4, top_k=1, drift=0.1, domains=5)
    domain = draw_domains(parameters, 0, 200, 400)
    changed = (np.diff(domain, axis=1) != 0).mean()
    assert changed == pytest.approx(0.1 * 4 / 5, abs=0.005)
    assert np.bincount(domain.ravel(), minlength=5) / domain.size == pytest.approx([0.2] * 5, abs=0.02)


def test_domains_give_each_sequence_its_own_experts_and_none_to_all() -> None:
    apart, alike = drawn(domain_strength=2, domains=16), drawn(domain_strength=2, domains=1)
    assert lag1_reuse(apart, everything(apart)) > 0.25
    assert lag1_reuse(alike, everything(alike)) == pytest.approx(2 / 16, abs=0.005)


def test_gate_weights_are_the_softmax_of_the_logits() -> None:
    """Of two experts the gap between Gumbel logits is logistic: the second's weight is uniform below 1/2."""
    trace = drawn(experts=2, concentration=1)
    first, second = trace.weights.astype(float)[..., 0], trace.weights.astype(float)[..., 1]
    np.testing.assert_allclose(first + second, 1, atol=1e-3)
    np.testing.assert_allclose(np.quantile(second, [0.1, 0.5, 0.9]), [0.05, 0.25, 0.45], atol=0.01)


def test_softmax_over_all_experts_keeps_the_ratios_and_sums_to_less() -> None:
    renormalised, over_all = drawn(concentration=0.7), drawn("softmax", concentration=0.7)
    np.testing.assert_array_equal(renormalised.experts, over_all.experts)
    ratios = [t.weights[..., 1].astype(float) / t.weights[..., 0] for t in (renormalised, over_all)]
    np.testing.assert_allclose(*ratios, rtol=4e-3)
    assert (over_all.weights.astype(float).sum(-1) < 1).all()
    assert over_all.header.weights == "softmax"
    everyone = drawn("softmax", experts=2, concentration=0.7)
    np.testing.assert_allclose(everyone.weights.astype(float).sum(-1), 1, atol=1e-3)


def test_predictions_are_as_accurate_as_stated() -> None:
    trace = drawn(predictions=(0.9, 0.25, 1.0, 0.5))
    validate(trace)
    for distance, accuracy in enumerate((0.9, 0.25, 1.0), start=1):
        named, true = trace.predicted[distance - 1][:, :-distance], trace.experts[:, distance:]
        right = (named[..., None] == true[..., None, :]).any(-1)
        assert right.mean() == pytest.approx(accuracy, abs=0.01)
        np.testing.assert_array_equal(
            trace.predicted_weights[distance - 1][:, :-distance], trace.weights[:, distance:]
        )
    assert (trace.predicted[3] == -1).all()  # four layers ahead of four layers there is none


def test_blocks_of_sequences_follow_each_other_and_lengths_are_kept(monkeypatch) -> None:
    monkeypatch.setattr(generate, "BLOCK_SEQUENCES", 2)
    given = {"sequences": 5, "prefill": (0, 3, 1, 2, 7), "decode": (4, 0, 1, 2, 1)}
    parameters = Parameters(layers=2, experts=4, top_k=2, **given)
    chunks = list(synthesise(parameters, header_of(parameters)))
    assert [np.unique(chunk.sequence).tolist() for chunk in chunks] == [[0, 1], [2, 3], [4]]
    trace = joined(chunks)
    validate(trace)
    for phase, name in ((PREFILL, "prefill"), (DECODE, "decode")):
        counts = np.bincount(trace.sequence[trace.phase == phase], minlength=5)
        assert tuple(counts.tolist()) == given[name]


@settings(max_examples=40)
@given(
    st.integers(1, 5),
    st.integers(1, 40).flatmap(lambda e: st.tuples(st.just(e), st.integers(1, min(e, 9)))),
    st.fixed_dictionaries(
        {name: st.floats(0, 50) for name in ("skew", "stickiness", "coupling", "domain_strength")}
    ),
    st.floats(0, 1),
    st.floats(0.001, 100),
    st.sampled_from(["renormalised", "softmax"]),
)
def test_any_parameters_give_a_valid_trace(layers, shape, nats, drift, concentration, kind) -> None:
    experts, k = shape
    given = {
        "drift": drift,
        "concentration": concentration,
        "sequences": 3,
        "prefill": 2,
        "decode": (1, 5, 2),
    }
    validate(drawn(kind, layers=layers, experts=experts, top_k=k, **nats, **given))


def test_header_says_for_ever_that_it_is_synthetic() -> None:
    parameters = Parameters(model="mixtral-8x7b", sequences=2, decode=3, prefill=1)
    (trace,) = synthesise(parameters, header_of(parameters), "a paper")
    header = trace.header
    assert header.synthetic
    assert (header.model, header.weights) == ("mixtral-8x7b (synthetic)", "renormalised")
    assert (header.n_layers, header.n_experts, header.top_k) == (32, 8, 2)
    assert "Drawn, not recorded" in header.notes
    assert "stickiness 0.8" in header.notes
    assert header.notes.endswith("Fitted to a paper")
    (again,) = synthesise(parameters, header)
    assert again.header.model == "mixtral-8x7b (synthetic)"


def test_tables_of_quantiles_are_those_of_the_distributions() -> None:
    for table, mean, sd in (
        (draws.gumbel_table(), np.euler_gamma, np.pi / np.sqrt(6)),
        (draws.normal_table(), 0, 1),
    ):
        nats = table / draws.UNIT
        assert nats.mean() == pytest.approx(mean, abs=1e-3)
        assert nats.std() == pytest.approx(sd, abs=1e-3)
        assert (np.diff(nats) >= 0).all()


def test_same_seed_gives_the_same_bits_on_every_machine() -> None:
    """The digest was computed once; a table or a stream that differs anywhere would change it."""
    trace = drawn(skew=0.7, stickiness=1, coupling=1.5, domain_strength=0.5, drift=0.01, predictions=(0.9,))
    digest = hashlib.sha256(
        trace.experts.astype("<i2").tobytes() + trace.predicted[0].astype("<i2").tobytes()
    )
    assert digest.hexdigest()[:16] == "5bc2a898f6a4a05c"
    assert not np.array_equal(trace.experts, drawn(seed=1).experts)


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.parquet", "b.parquet")]
    for file in files:
        command = [sys.executable, "-m", "simulator.cli", "trace", "synth", "--model", "olmoe-1b-7b"]
        subprocess.run([*command, "--predict", "0.9", "-o", str(file)], check=True, capture_output=True)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"top_k": 17}, "17 of 16 experts"),
        ({"top_k": 9, "predictions": (0.5,)}, "7 experts are left"),
        ({"skew": (1.0, 2.0)}, "skew: 2 values"),
        ({"sequences": 1 << 24, "decode": 1 << 20}, "for all tokens"),
        ({"sequences": 1, "decode": 1 << 24}, "for one sequence"),
        ({"layers": 4096, "experts": 32767, "decode": 1}, "for one sequence"),
        ({"layers": 1000, "experts": 10000, "decode": 1, "domains": 900}, "for the domains"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given, complaint) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        drawn(**given)
    assert "\n" not in str(caught.value)
