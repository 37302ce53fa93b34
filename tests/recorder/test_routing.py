"""What is recorded equals routing computed from the gates' inputs by plain formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the recorder needs torch: pip install 'moesim[record]'")
pytest.importorskip("transformers", reason="the recorder needs transformers: pip install 'moesim[record]'")

from simulator.trace.core import Trace
from tests.recorder.models import FAMILIES, build, gate_inputs
from tests.recorder.tools import PROMPTS, record_all

FLOAT16: Any = {"rtol": 2e-3, "atol": 1e-4}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def recorded(request: pytest.FixtureRequest) -> tuple[str, Any, Trace]:
    """A family, its model, and its trace: three padded prompts in one batch, nine tokens each."""
    model = build(request.param)
    return request.param, model, record_all(model, decode=9, predict=3, batch=3)


def by_id(ids: Any, weights: Any) -> tuple[Any, Any]:
    order = np.argsort(ids, axis=-1)
    return np.take_along_axis(ids, order, axis=-1), np.take_along_axis(weights, order, axis=-1)


def test_recorded_predicted_and_gate_top_are_right(recorded: tuple[str, Any, Trace]) -> None:
    family, model, trace = recorded
    route, config = FAMILIES[family].route, model.config
    assert trace.weights is not None and trace.gate_top is not None and trace.gate_top_p is not None
    for sequence in range(len(PROMPTS)):
        at = trace.sequence == sequence
        assert trace.token_id is not None
        routers, inputs = gate_inputs(model, trace.token_id[at].tolist())
        assert len(routers) == trace.header.n_layers
        for layer, hidden in enumerate(inputs):
            gate, ids, weights = route(config, routers[layer], hidden)
            got = by_id(trace.experts[at, layer], trace.weights[at, layer].astype(np.float64))
            want = by_id(ids, weights)
            np.testing.assert_array_equal(got[0], want[0])
            np.testing.assert_allclose(got[1], want[1], **FLOAT16)

            best = -np.sort(-gate, axis=-1)[:, : 2 * trace.header.top_k]
            known = best.shape[1]
            top_ids, top_p = trace.gate_top[at, layer], trace.gate_top_p[at, layer].astype(np.float64)
            np.testing.assert_allclose(top_p[:, :known], best, **FLOAT16)
            named = np.take_along_axis(gate, top_ids[:, :known].astype(np.int64), axis=-1)
            np.testing.assert_allclose(named, best, rtol=1e-5)
            assert (top_ids[:, known:] == -1).all() and (top_p[:, known:] == 0).all()

            for distance in (1, 2, 3):
                said = trace.predicted[distance - 1][at, layer]
                said_weights = trace.predicted_weights[distance - 1][at, layer].astype(np.float64)
                if layer + distance >= len(routers):
                    assert (said == -1).all() and (said_weights == 0).all()
                    continue
                _, ids, weights = route(config, routers[layer + distance], hidden)
                got, want = by_id(said, said_weights), by_id(ids, weights)
                np.testing.assert_array_equal(got[0], want[0])
                np.testing.assert_allclose(got[1], want[1], **FLOAT16)


def test_header_says_how_the_model_scores_and_what_it_weighs(recorded: tuple[str, Any, Trace]) -> None:
    family, model, trace = recorded
    expected, header = FAMILIES[family], trace.header
    assert header.weights == expected.weights
    assert f"gate_top_p: {expected.scoring} " in header.notes
    assert header.moe_layers == expected.moe_layers
    assert header.n_model_layers == model.config.num_hidden_layers
    assert header.expert_bytes == (4 * expected.expert_elements,) * header.n_layers
    layers = model.model.layers
    assert header.dense_bytes is not None
    for size, expert, layer in zip(header.dense_bytes, header.expert_bytes, header.moe_layers, strict=True):
        whole = sum(4 * parameter.numel() for parameter in layers[layer].parameters())
        assert size + expert * header.n_experts == whole


def test_predictions_are_not_the_routing_itself(recorded: tuple[str, Any, Trace]) -> None:
    _, _, trace = recorded
    assert (np.sort(trace.predicted[0][:, :-1]) != np.sort(trace.experts[:, 1:])).any()
