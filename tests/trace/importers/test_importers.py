"""Importers on small files of our own: other shapes, options, and faults in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import IMPORTERS, import_trace
from tests.trace.examples import one_line


def esft(folder: Path, layers: dict[int, str]) -> Path:
    """Write an ESFT folder."""
    for layer, text in layers.items():
        (folder / f"expert_weights_{layer}.txt").write_text(text)
    return folder


def test_esft_phase_split(tmp_path: Path) -> None:
    line = "1\t2\t3\t4\t0\t5\t\t" + "\t".join(["0.2"] * 6) + "\n"
    folder = esft(tmp_path, {2: line + line, 10: line + line})
    options = ImportOptions(top_k=2, n_experts=6, phase="split:2", model="m", licence="mine")
    trace = import_trace(folder, "esft", options)
    assert trace.header.moe_layers == (2, 10)
    assert (trace.header.model, trace.header.licence) == ("m", "mine")
    assert trace.header.phase_source == "teacher-forced, imported as split:2"
    assert trace.sequence.tolist() == [0, 0, 0, 1, 1, 1]
    assert trace.position.tolist() == [0, 1, 2, 0, 1, 2]
    assert trace.phase.tolist() == [0, 0, 1, 0, 0, 1]
    assert trace.experts[0].tolist() == [[1, 2], [1, 2]]
    decode = import_trace(folder, "esft", ImportOptions(top_k=2, phase="decode"))
    assert decode.phase.all()


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({}, "no expert_weights_LAYER.txt"),
        ({1: "1\t2\t\t0.5\t0.5\n", 2: "1\t2\t\t0.5\t0.5\n" * 2}, "other sequences than in"),
        ({1: "1\t2\t3\t\t0.5\t0.5\t0.5\n"}, "line 1: not 2 ids"),
        ({1: "1\t2\t\t0.5\n"}, "line 1: not 2 ids"),
        ({1: "1\t2 0.5 0.5\n"}, "line 1: not 2 ids"),
        ({1: "1\tx\t\t0.5\t0.5\n"}, "ids are whole numbers"),
        ({1: "1\t64\t\t0.5\t0.5\n"}, "allowed: 0..63"),
        ({1: ""}, "no routed tokens"),
    ],
)
def test_esft_faults(tmp_path: Path, layers: dict[int, str], words: str) -> None:
    with pytest.raises(InputError) as caught:
        import_trace(esft(tmp_path, layers), "esft", ImportOptions(top_k=2))
    assert words in one_line(caught.value)


def arrays(order: str = "token,layer,k") -> dict[str, np.ndarray]:
    """Return experts and weights of 4 tokens, 3 layers, k 2, with axes in this order."""
    rng = np.random.default_rng(0)
    experts = rng.random((4, 3, 8)).argsort(axis=2)[:, :, :2]
    names = ["token", "layer", "k"]
    axes = [names.index(name) for name in order.split(",")]
    return {"experts": experts.transpose(axes), "weights": rng.random((4, 3, 2)).transpose(axes)}


@pytest.mark.parametrize("order", ["token,layer,k", "layer,token,k", "k,layer,token", "layer,k,token"])
def test_npz_axes_are_stated(tmp_path: Path, order: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays(order))
    options = ImportOptions(axes=tuple(order.split(",")), n_experts=8, phase="split:1")
    trace = import_trace(tmp_path / "a.npz", "npz", options)
    expected = arrays()
    assert trace.experts.tolist() == expected["experts"].tolist()
    assert trace.weights is not None
    np.testing.assert_array_equal(trace.weights, expected["weights"].astype(np.float32))
    assert trace.phase.tolist() == [0, 1, 1, 1]
    assert trace.position.tolist() == [0, 1, 2, 3]


def test_npz_names_sequences_and_phases(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        ids=arrays()["experts"],
        seq=[0, 0, 2, 2],
        phase=[0, 1, 0, 1],
        token_id=[9, 8, 7, 6],
    )
    options = ImportOptions(
        axes=("token", "layer", "k"), n_experts=8, key={"experts": "ids", "sequence": "seq"}
    )
    trace = import_trace(tmp_path / "a.npz", "npz", options)
    assert trace.weights is None
    assert trace.sequence.tolist() == [0, 0, 2, 2]
    assert trace.position.tolist() == [0, 1, 0, 1]
    assert trace.phase.tolist() == [0, 1, 0, 1]
    assert trace.token_id is not None
    assert trace.token_id.tolist() == [9, 8, 7, 6]
    assert trace.header.phase_source == "recorded"


GOOD = {"axes": ("token", "layer", "k"), "n_experts": 8, "phase": "decode"}


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"axes": None}, "--axes: missing"),
        ({}, {"axes": ("token", "layer")}, "--axes: 'token,layer'"),
        ({}, {"n_experts": None}, "--n-experts: missing"),
        ({}, {"n_experts": 0}, "n_experts is 0"),
        ({}, {"n_experts": 4}, "allowed: 0..3"),
        ({}, {"phase": None}, "--phase: missing"),
        ({}, {"phase": "both"}, "--phase: 'both'; allowed: prefill, decode, split:N"),
        ({"phase": np.zeros(4, int)}, {}, "--phase: the file has phases"),
        ({}, {"key": {"experts": "expert"}}, "no array 'expert'; did you mean 'experts'"),
        ({}, {"key": {"expert": "experts"}}, "unknown 'expert'"),
        ({}, {"top_k": 2}, "--top-k: not for npz"),
        ({"experts": np.zeros((4, 3))}, {}, "3 axes"),
        ({"experts": np.zeros((4, 3, 2))}, {}, "whole numbers"),
        ({"experts": np.zeros((0, 3, 2), int)}, {}, "no routed tokens"),
        ({"experts": np.full((4, 3, 2), 99_999)}, {}, "-1..32767"),
        ({"weights": np.zeros((4, 3, 1))}, {}, "a float for each expert"),
        ({"weights": np.zeros((4, 3, 2), int)}, {}, "a float for each expert"),
        ({"weights": np.full((4, 3, 2), np.nan)}, {}, "layer 0: weights is negative or not a number"),
        ({"sequence": np.array([0, 1, 0, 1])}, {}, "sequence comes after a later one"),
        ({"sequence": np.array([0, 1])}, {}, "sequence has shape (2,)"),
        ({"position": np.array([0.5, 1, 2, 3])}, {}, "'position' is float64"),
        ({"experts": np.array([None, 1])}, {}, "not an npz of plain arrays"),
    ],
)
def test_npz_faults(tmp_path: Path, change: dict[str, Any], options: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "a.npz", **(arrays() | change))
    with pytest.raises(InputError) as caught:
        import_trace(tmp_path / "a.npz", "npz", ImportOptions(**(GOOD | options)))
    assert words in one_line(caught.value)


def routes(**change: Any) -> dict[str, Any]:
    """Return a qwen1.5 JSON of two tokens."""
    layers = {
        "0": {"experts": [1, 2], "weights": [0.5, 0.25]},
        "1": {"experts": [0, 2], "weights": [0.5, 0.25]},
    }
    tokens = [
        {"token_pos": t, "token_id": 7, "phase": phase, "layers": layers}
        for t, phase in enumerate(("prefill", "decode"))
    ]
    meta = {"model_id": "q", "num_layers": 2, "num_experts": 4, "top_k": 2, "backend": "mlx"}
    return {"meta": meta | change.pop("meta", {}), "routes": tokens} | change


def fingerprint(row: Any) -> dict[str, Any]:
    """Return a gpt-oss JSON of one token whose 24 layers are all this row."""
    token = {f"layer_{layer}": row for layer in range(24)}
    return {"dataset": "d", "category": "c", "row_index": 1, "router_data": [{"token_5": token}]}


ROUTE = {"experts": [1, 2], "weights": [0.5, 0.25]}
CHOSEN = {"selected_experts": [1, 2], "selected_probs": [0.75, 0.25]}


def test_json_layers_that_a_token_lacks_are_missing_rows(tmp_path: Path) -> None:
    content = routes()
    content["routes"][0] = content["routes"][0] | {"layers": {"1": ROUTE}}
    (tmp_path / "a.json").write_text(json.dumps(content))
    trace = import_trace(tmp_path / "a.json", "qwen1.5-json")
    assert trace.experts.tolist() == [[[-1, -1], [1, 2]], [[1, 2], [0, 2]]]
    content = fingerprint(CHOSEN)
    content["router_data"].append({"token_6": {"layer_3": CHOSEN}})
    (tmp_path / "b.json").write_text(json.dumps(content))
    trace = import_trace(tmp_path / "b.json", "gpt-oss-json")
    assert trace.position.tolist() == [5, 6]
    assert (trace.experts[1] >= 0).any(axis=1).sum() == 1


@pytest.mark.parametrize(
    ("format_name", "content", "words"),
    [
        ("qwen1.5-json", {}, "not a routes JSON (KeyError('meta'))"),
        ("qwen1.5-json", [1], "not a routes JSON"),
        ("qwen1.5-json", routes(routes=[]), "no routed tokens"),
        ("qwen1.5-json", routes(meta={"top_k": 3}), "meta says top_k 3"),
        ("qwen1.5-json", routes(meta={"num_experts": 2}), "allowed: 0..1"),
        ("qwen1.5-json", routes(meta={"num_layers": 1}), "allowed: 0..0"),
        ("gpt-oss-json", {"router_data": []}, "KeyError('dataset')"),
        ("gpt-oss-json", fingerprint(CHOSEN) | {"router_data": []}, "no routed tokens"),
        (
            "gpt-oss-json",
            fingerprint(CHOSEN | {"selected_experts": [1, 1]}),
            "layer 0: experts has an expert twice",
        ),
        ("gpt-oss-json", fingerprint(CHOSEN | {"selected_experts": [1, 2.5]}), "whole number"),
        ("gpt-oss-json", fingerprint(CHOSEN | {"selected_experts": [1, "two"]}), "two"),
        ("gpt-oss-json", fingerprint(CHOSEN | {"selected_probs": [1]}), "2 experts, 1 weights"),
        ("gpt-oss-json", fingerprint(CHOSEN | {"selected_experts": [1, 32]}), "allowed: 0..31"),
        ("gpt-oss-json", fingerprint(CHOSEN) | {"router_data": [{"x": {}}]}, "'x' is not token_N"),
    ],
)
def test_json_faults(tmp_path: Path, format_name: str, content: Any, words: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        import_trace(tmp_path / "a.json", format_name)
    assert words in one_line(caught.value)


def empty_file(folder: Path) -> Path:
    """Write an empty file."""
    (folder / "empty").write_bytes(b"")
    return folder / "empty"


def binary_file(folder: Path) -> Path:
    """Write bytes that are neither text nor zip."""
    (folder / "binary").write_bytes(bytes(range(256)) * 8)
    return folder / "binary"


def binary_layer(folder: Path) -> Path:
    """Write a folder that looks like ESFT's and holds bytes."""
    (folder / "expert_weights_1.txt").write_bytes(bytes(range(256)) * 8)
    return folder


@pytest.mark.parametrize("format_name", IMPORTERS)
@pytest.mark.parametrize(
    "make", [empty_file, binary_file, binary_layer, lambda folder: folder, lambda f: f / "absent"]
)
def test_files_of_another_kind(tmp_path: Path, format_name: str, make: Callable[[Path], Path]) -> None:
    options = ImportOptions(**GOOD) if format_name == "npz" else ImportOptions()
    with pytest.raises(InputError) as caught:
        import_trace(make(tmp_path), format_name, options)
    assert str(tmp_path) in one_line(caught.value)


@pytest.mark.parametrize("format_name", ["bigmoe", "gpt-oss-json", "gpt-oss-npz", "qwen1.5-json"])
def test_phase_is_refused_where_it_was_recorded(tmp_path: Path, format_name: str) -> None:
    with pytest.raises(InputError, match="the source records phases"):
        import_trace(tmp_path, format_name, ImportOptions(phase="decode"))


def test_unknown_format() -> None:
    with pytest.raises(InputError, match="did you mean 'bigmoe'"):
        import_trace("x", "bigmo")
