"""Prefill and decode are told apart, padding is dropped, draws follow the seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the recorder needs torch: pip install 'moesim[record]'")
pytest.importorskip("transformers", reason="the recorder needs transformers: pip install 'moesim[record]'")

from simulator.trace.recorders.gates import find_gates
from simulator.trace.recorders.hooks import RouterHooks
from simulator.trace.recorders.routers import find_routers
from simulator.trace.recorders.sampling import Sampler
from tests.recorder.models import build
from tests.recorder.tools import PROMPTS, assert_same, record_all


@pytest.fixture(scope="module")
def olmoe() -> Any:
    return build("olmoe")


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_each_sequence_is_its_prompt_then_its_decoded_tokens(olmoe: Any, batch: int) -> None:
    trace = record_all(olmoe, decode=4, batch=batch)
    assert trace.token_id is not None
    lengths = [len(prompt) + 4 for prompt in PROMPTS]
    np.testing.assert_array_equal(trace.sequence, np.repeat([0, 1, 2], lengths))
    for sequence, prompt in enumerate(PROMPTS):
        at = trace.sequence == sequence
        np.testing.assert_array_equal(trace.position[at], np.arange(len(prompt) + 4))
        np.testing.assert_array_equal(trace.phase[at], [0] * len(prompt) + [1] * 4)
        np.testing.assert_array_equal(trace.token_id[at][: len(prompt)], prompt)


def test_draws_do_not_depend_on_the_batch(olmoe: Any) -> None:
    alone, together = record_all(olmoe, decode=12), record_all(olmoe, decode=12, batch=3)
    np.testing.assert_array_equal(alone.token_id, together.token_id)
    np.testing.assert_array_equal(np.sort(alone.experts), np.sort(together.experts))


def test_same_seed_same_arrays_whatever_the_global_state(olmoe: Any) -> None:
    torch.manual_seed(1)
    one = record_all(olmoe, decode=12, seed=3, batch=2)
    torch.manual_seed(2)
    assert_same(one, record_all(olmoe, decode=12, seed=3, batch=2))
    other = record_all(olmoe, decode=12, seed=4, batch=2)
    assert one.token_id is not None and other.token_id is not None
    assert (one.token_id != other.token_id).any()


def test_greedy_decoding_is_argmax(olmoe: Any) -> None:
    trace = record_all(olmoe, decode=5, temperature=0)
    assert trace.token_id is not None
    tokens = trace.token_id[trace.sequence == 1].tolist()
    with torch.inference_mode():
        best = olmoe(input_ids=torch.tensor([tokens])).logits[0].argmax(dim=-1).tolist()
    assert tokens[3:] == best[2:-1]


def test_a_stop_token_ends_its_own_sequence_and_is_not_recorded(olmoe: Any) -> None:
    free = record_all(olmoe, decode=8, batch=3)
    assert free.token_id is not None
    stop = int(free.token_id[(free.sequence == 1) & (free.phase == 1)][2])
    ended = record_all(olmoe, decode=8, batch=3, stop=frozenset({stop}))
    assert ended.token_id is not None
    for sequence, prompt in enumerate(PROMPTS):
        whole = free.token_id[free.sequence == sequence].tolist()
        drawn = whole[len(prompt) :]
        kept = drawn[: drawn.index(stop)] if stop in drawn else drawn
        assert ended.token_id[ended.sequence == sequence].tolist() == whole[: len(prompt)] + kept


def test_a_batch_whose_sequences_have_all_ended_ends(olmoe: Any) -> None:
    ended = record_all(olmoe, decode=8, batch=3, stop=frozenset(range(96)))
    assert ended.n_tokens == sum(map(len, PROMPTS)) and not ended.phase.any()


def test_no_decoding_records_the_prompt(olmoe: Any) -> None:
    trace = record_all(olmoe, decode=0, predict=0)
    assert trace.n_tokens == sum(map(len, PROMPTS)) and not trace.phase.any() and not trace.predicted


def test_predicting_fires_no_hook() -> None:
    model = build("qwen3_moe")
    gates, fired = find_gates(model, PROMPTS[0]), Counter[str]()
    handles = [
        router.module.register_forward_hook(
            lambda _module, _args, _output, name=router.name: fired.update([name])
        )
        for router in gates.routers
    ]
    with torch.inference_mode(), RouterHooks(gates, predict=3) as hooks:
        out = model(input_ids=torch.tensor([PROMPTS[0]]), output_router_logits=True)
        rows = hooks.take()
    assert set(fired.values()) == {1} and len(fired) == len(gates.routers)
    assert len(out.router_logits) == len(gates.routers)
    assert rows["experts"].shape == (len(PROMPTS[0]), 4, 4)
    for handle in handles:
        handle.remove()


def test_the_hooks_leave_nothing_behind() -> None:
    model = build("mixtral")
    record_all(model, decode=1)
    assert len(find_routers(model)) == 5
    assert not any(router.module._forward_hooks for router in find_routers(model))


def test_a_pass_that_was_not_taken_is_an_error(olmoe: Any) -> None:
    gates = find_gates(olmoe, PROMPTS[0])
    with torch.inference_mode(), RouterHooks(gates, predict=0):
        olmoe(input_ids=torch.tensor([PROMPTS[0]]))
        with pytest.raises(RuntimeError, match="ran twice"):
            olmoe(input_ids=torch.tensor([PROMPTS[0]]))


def test_the_nucleus_leaves_out_what_is_beyond_top_p() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    sampler = Sampler(temperature=1.0, top_p=0.7, seed=0, sequence=0)
    counts = Counter(sampler.draw(logits) for _ in range(2000))
    assert set(counts) == {0, 1}
    assert counts[0] / 2000 == pytest.approx(0.5 / 0.8, abs=0.04)
    assert {Sampler(1.0, 0.0, 0, 0).draw(logits) for _ in range(20)} == {0}
