"""Generic formats: what the header needs comes from options or from a model of ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from tests.trace.examples import one_line
from tests.trace.importers.every_format import FILES
from tests.trace.importers.trace_files import LAYERS, N_EXPERTS, write


def test_a_known_model_says_how_many_experts_and_which_layers(tmp_path: Path) -> None:
    rows = [[[1, 2, 3, 4, 5, 6]] * 26] * 2
    path = write(tmp_path / "a.jsonl", "".join(json.dumps({"experts": row}) + "\n" for row in rows))
    trace = import_trace(path, "jsonl", ImportOptions(model="deepseek-v2-lite", phase="decode"))
    assert trace.header.n_experts == 64
    assert trace.header.moe_layers == tuple(range(1, 27))
    assert trace.header.n_model_layers == 27
    path = write(tmp_path / "b.jsonl", json.dumps({"experts": rows[0][:25]}) + "\n")
    with pytest.raises(InputError, match="25 layers; model deepseek-v2-lite has 26"):
        import_trace(path, "jsonl", ImportOptions(model="deepseek-v2-lite", phase="decode"))
    options = ImportOptions(moe_layers=(1, 2), n_experts=9, phase="decode")
    with pytest.raises(InputError, match="25 layers; --moe-layers has 2"):
        import_trace(path, "jsonl", options)


def test_layers_that_the_file_names_are_not_named_again(tmp_path: Path) -> None:
    path, _ = FILES["jsonl"](tmp_path)
    with pytest.raises(InputError, match="--moe-layers: the file numbers its layers itself"):
        import_trace(path, "jsonl", ImportOptions(moe_layers=LAYERS, n_experts=N_EXPERTS))


def test_layers_without_names_are_counted_from_0(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"experts": [[1], null]}\n{"experts": [[2], [0]]}\n')
    trace = import_trace(path, "jsonl", ImportOptions(n_experts=3, phase="prefill"))
    assert trace.header.moe_layers == (0, 1)
    assert trace.header.model == "unknown"
    assert trace.header.phase_source == "teacher-forced, imported as prefill"
    assert trace.experts.tolist() == [[[1], [-1]], [[2], [0]]]


JSONL_FAULTS = [
    ('{"experts": [[1, 2]]}\n{"experts": [[1, 2]], "token_id": 4}\n', "line 2: other keys than in line 1"),
    ('{"experts": [[1, 2]]}\n{"experts": {"0": [1, 2]}}\n', "line 2: experts is {'0': [1, 2]}"),
    ('{"experts": [[1, 2]]}\n{"experts": [[1, 2], [3, 4]]}\n', "line 2: 2 layers; 1, as in line 1"),
    ('{"experts": [[1, 2]]}\n{"experts": [[1, 2, 3]]}\n', "token 0 layer 0: 2 experts, 2 weights; 3"),
    ('{"expert": [[1, 2]]}\n', "line 1: no object with 'experts'"),
    ("[[1, 2]]\n", "line 1: no object with 'experts'"),
    ('{"experts": [[1, 2]], "wieghts": [[1, 2]]}\n', "unknown key 'wieghts'; did you mean 'weights'?"),
    ('{"experts": 4}\n', "line 1: experts is 4"),
    ('{"experts": [4]}\n', "line 1: layer 0: 4; a list of numbers"),
    ('{"experts": {"one": [4]}}\n', "line 1: 'one' is no number of a layer"),
    ('{"experts": {"-1": [4]}}\n', "'-1' is no number of a layer"),
    ('{"experts": {"1": [4], "01": [3]}}\n', "'01' is no number of a layer"),
    ('{"experts": {"1": [4]}, "weights": {"2": [0.5]}}\n', "line 1: weights of other layers than experts"),
    ('{"experts": [[4]], "weights": 3}\n', "line 1: 'int' object is not iterable"),
    ('{"experts": [[1, 2]], "phase": "warm-up"}\n', "phase warm-up; allowed: prefill, decode"),
    ('{"experts": [[1, 2]], "phase": {}}\n', "phase {}; allowed"),
    ('{"experts": [[1, 2]], "position": 1.5}\n', "a token's position or id: 1.5"),
    ('{"experts": [[1, 2]], "position": true}\n', "a token's position or id: True"),
    ('{"experts": [[1, 2]], "position": 4000000000}\n', "whole numbers of 32 bits"),
    ('{"experts": [[]]}\n', "no routed tokens"),
    ('{"experts": []}\n', "no routed tokens"),
    ('{"experts": [[1, 2]]}\n\n{"experts": [[1, 2]]}\n', "line 2: not JSON"),
    ('{"experts": [[1, 2]]}\n{"experts": [[1, 2]', "line 2: not JSON"),
]


@pytest.mark.parametrize(("text", "words"), JSONL_FAULTS, ids=[words for _, words in JSONL_FAULTS])
def test_jsonl_faults(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path / "a.jsonl", text)
    phase = None if '"phase"' in text else "decode"
    with pytest.raises(InputError) as caught:
        import_trace(path, "jsonl", ImportOptions(n_experts=9, phase=phase))
    assert words in one_line(caught.value)


CSV_FAULTS = [
    ("position,layer,expert\n0,0,1\n0,0,1\n", {}, "experts has an expert twice"),
    ("position,layer,expert,slot\n0,0,1,0\n0,0,2,0\n", {}, "layer 0: the same row or slot twice"),
    ("position,layer,expert,slot\n0,0,1,1\n", {}, "partly missing"),
    ("position,layer,expert,slot\n0,0,1,1024\n", {}, "slots from 1024 to 1024; allowed: 0..1023"),
    ("position,layer,expert,slot\n0,0,1,-1\n", {}, "slots from -1 to -1"),
    ("position,layer,expert\n1,0,1\n0,0,1\n", {}, "sequence 0 position 0 layer 0: comes after a later token"),
    ("sequence,position,layer,expert\n1,0,0,1\n0,0,0,1\n", {}, "comes after a later token"),
    ("position,layer,expert\n-1,0,1\n", {}, "position from -1 to -1; allowed: 0..2147483647"),
    ("position,layer,expert\n0,-1,1\n", {}, "layer from -1 to -1"),
    ("position,layer,expert\n0,0,9\n", {}, "experts holds 9; allowed: 0..8"),
    ("position,layer,expert\n0,0,1.5\n", {}, "CSV conversion error to int32"),
    ("position,layer,expert\n0,0,\n", {}, "CSV conversion error to int32"),
    ("position,layer,expert\n0,0,nan\n", {}, "column 'expert' has no number in some line"),
    ("position,layer,expert\n0,0,4294967296\n", {}, "CSV conversion error to int32"),
    ("position,layer,expert\n0,0\n", {}, "Expected 3 columns, got 2"),
    ("position,layer,expert\n", {}, "no routed tokens"),
    (
        "position,layer,experts\n0,0,1\n",
        {},
        "no column 'expert'; did you mean 'experts'? (--key expert=NAME)",
    ),
    ("position,layer,expert,layer\n0,0,1,0\n", {}, "column 'layer' 2 times"),
    ("position,layer,expert\n0,0,1\n", {"key": {"expert": "e"}}, "no column 'e'"),
    (
        "position,layer,expert\n0,0,1\n",
        {"key": {"experts": "e"}},
        "unknown 'experts'; did you mean 'expert'?",
    ),
    ("position,layer,expert\n0,0,1\n", {"phase": None}, "--phase: missing"),
    ("position,layer,expert,phase\n0,0,1,decode\n", {}, "--phase: the file has phases"),
    ("position,layer,expert,phase\n0,0,1,warm\n", {"phase": None}, "unknown phase; allowed: prefill or 0"),
    (
        "position,layer,expert,phase\n0,0,1,prefill\n0,1,1,decode\n",
        {"phase": None},
        "sequence 0 position 0: phase differs between its rows",
    ),
    ("position,layer,expert\n0,0,1\n", {"n_experts": None}, "--n-experts: missing; a CSV does not say"),
    ("position,layer,expert,weight\n0,0,1,nan\n", {}, "weights is negative or not a number"),
    ("position,layer,expert,weight\n0,0,1,\n", {}, "CSV conversion error to float"),
    ("position,layer,expert,weight\n0,0,1,1e99\n", {}, "weights is negative or not a number"),
]


@pytest.mark.parametrize(("text", "change", "words"), CSV_FAULTS, ids=[words for _, _, words in CSV_FAULTS])
def test_csv_faults(tmp_path: Path, text: str, change: dict[str, object], words: str) -> None:
    path = write(tmp_path / "a.csv", text)
    options = {"n_experts": 9, "phase": "decode"} | change
    with pytest.raises(InputError) as caught:
        import_trace(path, "csv", ImportOptions(**options))  # type: ignore[arg-type]
    assert words in one_line(caught.value)


def test_csv_layers_that_a_token_lacks_are_missing_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "position,layer,expert\n0,7,1\n0,7,2\n3,7,4\n3,7,0\n3,9,1\n3,9,2\n")
    trace = import_trace(path, "csv", ImportOptions(n_experts=5, phase="decode"))
    assert trace.header.moe_layers == (7, 9)
    assert trace.position.tolist() == [0, 3]
    assert trace.experts.tolist() == [[[1, 2], [-1, -1]], [[4, 0], [1, 2]]]


def test_npz_phases_other_than_0_and_1_are_refused(tmp_path: Path) -> None:
    experts = np.zeros((1, 1, 1), dtype=np.int8)
    options = ImportOptions(axes=("token", "layer", "k"), n_experts=1)
    np.savez(tmp_path / "a.npz", experts=experts, phase=[257])  # 1 in 8 bits
    with pytest.raises(InputError, match="unknown phase"):
        import_trace(tmp_path / "a.npz", "npz", options)
    np.savez(tmp_path / "b.npz", experts=experts, phase=[0], sequence=[-(1 << 40)])  # 0 in 32 bits
    with pytest.raises(InputError, match="'sequence' goes from -1099511627776"):
        import_trace(tmp_path / "b.npz", "npz", options)
