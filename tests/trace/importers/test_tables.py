"""Every format's example comes back as it was written, through Parquet too; options and forms of each."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.cli import main
from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import IMPORTERS, import_trace, sniff
from simulator.trace.parquet import read_trace, write_trace
from tests.places import ROOT
from tests.trace.examples import RECORDED, assert_same, needs_recorded, one_line
from tests.trace.importers import serving_files
from tests.trace.importers.every_format import FILES
from tests.trace.importers.trace_files import (
    DECODE,
    LAYERS,
    N_EXPERTS,
    N_MODEL_LAYERS,
    PREFILL,
    TOKENS,
    K,
    experts_of,
    weights_of,
    write,
)

# What a format's example does not say of the tokens: all others come back as they are.
ONE_SEQUENCE = {"flame-moe", "npz:npy"}
SERVING = {*serving_files.FILES}
NO_WEIGHTS = {"llama-cpp", "npz:npy", "csv:by-layer", "jsonl:lists"} | SERVING
NO_IDS = NO_WEIGHTS - {"sglang"} | {"bigmoe", "gpt-oss-json", "gpt-oss-npz", "esft"}
FIRST_SEQUENCE = {"csv:by-layer", "jsonl:lists"}
NO_NAMES = {"gpt-oss-npz"}
ALL_DECODE = {"gpt-oss-json", "gpt-oss-npz", "npz:npy"}
ALL_PREFILL = {"flame-moe", "megatron"}
UNCERTAIN = {"npz", "csv", "jsonl"}


def load(name: str, folder: Path) -> Trace:
    path, options = FILES[name](folder)
    return import_trace(path, name.partition(":")[0], options)


def test_every_format_has_an_example() -> None:
    assert {name.partition(":")[0] for name in FILES} == {*IMPORTERS}


@pytest.mark.parametrize("name", FILES)
def test_an_example_comes_back_exactly(tmp_path: Path, name: str) -> None:
    trace = load(name, tmp_path)
    tokens = TOKENS[:4] if name in FIRST_SEQUENCE else TOKENS
    header = trace.header
    assert (header.n_layers, header.n_experts, header.top_k) == (len(LAYERS), N_EXPERTS, K)
    assert header.moe_layers == ((0, 1, 2) if name in NO_NAMES else LAYERS)
    assert header.n_model_layers == (3 if name in NO_NAMES else N_MODEL_LAYERS)
    experts = experts_of(tokens)
    if name == "llama-cpp":
        for token in (0,):  # the prompt's first token: its last layer was not computed
            experts[token][-1] = [-1] * K
    assert trace.experts.tolist() == experts
    one = name in ONE_SEQUENCE
    assert trace.sequence.tolist() == [0 if one else t.sequence for t in tokens]
    assert trace.position.tolist() == [i if one else t.position for i, t in enumerate(tokens)]
    phases = [t.phase for t in tokens]
    if name == "esft":
        phases = [int(t.position >= 2) for t in tokens]
    elif name in ALL_DECODE | ALL_PREFILL:
        phases = [DECODE if name in ALL_DECODE else PREFILL] * len(tokens)
    assert trace.phase.tolist() == phases
    if name in NO_WEIGHTS:
        assert trace.weights is None
    else:
        assert trace.weights is not None
        assert trace.weights.tolist() == weights_of(tokens)
        assert header.weights == "softmax"
    if name in NO_IDS:
        assert trace.token_id is None
    else:
        assert trace.token_id is not None
        assert trace.token_id.tolist() == [t.token_id for t in tokens]
    write_trace(trace, tmp_path / "out.parquet")
    assert_same(read_trace(tmp_path / "out.parquet"), trace)


@pytest.mark.parametrize("name", FILES)
def test_a_format_is_recognised_only_where_it_is_certain(tmp_path: Path, name: str) -> None:
    path, options = FILES[name](tmp_path)
    name = name.partition(":")[0]
    if name in UNCERTAIN:
        with pytest.raises(InputError, match="no format is recognised"):
            sniff(path)
        return
    assert sniff(path) == name
    assert_same(import_trace(path, None, options), import_trace(path, name, options))
    if path.is_dir() or name in SERVING:  # these are told by what is further in
        return
    path.write_bytes(path.read_bytes()[4:])  # another beginning
    with pytest.raises(InputError, match="no format is recognised"):
        sniff(path)


@needs_recorded
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("bigmoe/qwen.route.csv", "bigmoe"),
        ("gpt-oss-20b/decode-80seq.npz", "gpt-oss-npz"),
        ("gpt-oss-20b/raw-mmlu-physics.json", "gpt-oss-json"),
        ("deepseek-v2-lite-esft/summary", "esft"),
        ("qwen1.5-moe", "qwen1.5-json"),
    ],
)
def test_recorded_files_are_recognised(path: str, name: str) -> None:
    assert sniff(RECORDED / path) == name


@needs_recorded
def test_other_recorded_files_are_not_recognised() -> None:
    for path in ("bigmoe/qwen.metrics.csv", "bigmoe", "deepseek-v2-lite-esft"):
        with pytest.raises(InputError, match="no format is recognised"):
            sniff(RECORDED / path)


# Generic formats: what the header needs comes from options or from a model of ours.


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


# moe-policylang and FLAME-MoE: what their columns may be.


def policylang(folder: Path, **change: object) -> Path:
    columns: dict[str, object] = {
        "prompt_id": pa.array([0, 0], pa.int32()),
        "token_idx": pa.array([0, 1], pa.int32()),
        "layer_idx": pa.array([3, 3], pa.int32()),
        "selected_experts": pa.array([[1, 2], [2, 0]], pa.list_(pa.int32())),
    }
    columns = {name: value for name, value in (columns | change).items() if value is not None}
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return folder / "a.parquet"


def test_policylang_without_scores_and_phases(tmp_path: Path) -> None:
    options = ImportOptions(n_experts=4, phase="split:1", model="m", licence="MIT")
    trace = import_trace(policylang(tmp_path), "moe-policylang", options)
    assert trace.weights is None
    assert trace.phase.tolist() == [0, 1]
    assert (trace.header.model, trace.header.licence) == ("m", "MIT")
    assert trace.header.recorder == "moe-policylang"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt_id": None}, "no column 'prompt_id', or twice"),
        ({"selected_experts": None}, "no column 'selected_experts'"),
        ({"selected_experts": pa.array([[1, 2], [2]])}, "is list<element: int64>"),
        ({"selected_experts": pa.array([[1, 2], [2]], pa.list_(pa.int32()))}, "lists of different lengths"),
        ({"selected_experts": pa.array([[1, 2], None], pa.list_(pa.int32()))}, "1 empty cells"),
        ({"selected_experts": pa.array([[1, 2], [2, None]], pa.list_(pa.int32()))}, "with empty cells"),
        ({"selected_experts": pa.array([[], []], pa.list_(pa.int32()))}, "empty lists in 'selected_experts'"),
        ({"selected_experts": pa.array([[1, 4], [2, 0]], pa.list_(pa.int32()))}, "allowed: 0..3"),
        ({"selected_experts": pa.array([1, 2], pa.int32())}, "column 'selected_experts' is int32"),
        ({"token_idx": pa.array([1, 0], pa.int32())}, "comes after a later token"),
        ({"token_idx": pa.array([1, 1], pa.int32())}, "the same row or slot twice"),
        ({"token_idx": pa.array([1, None], pa.int32())}, "column 'token_idx' has 1 empty cells"),
        ({"token_idx": pa.array([0, -1], pa.int32())}, "position from -1 to 0"),
        ({"token_idx": pa.array([0.0, 1.0])}, "column 'token_idx' is double; int32 or int64"),
        ({"router_scores": pa.array([[1.0], [1.0]], pa.list_(pa.float32()))}, "router_scores have k 1; 2"),
        ({"phase": pa.array(["warm-up", "decode"])}, "unknown phase"),
        ({"token_id": pa.array([1, 1 << 40])}, "'token_id' goes from 1 to"),
    ],
)
def test_policylang_faults(tmp_path: Path, change: dict[str, object], words: str) -> None:
    phase = None if "phase" in change else "decode"
    with pytest.raises(InputError) as caught:
        import_trace(
            policylang(tmp_path, **change), "moe-policylang", ImportOptions(n_experts=4, phase=phase)
        )
    line = one_line(caught.value)
    assert words in line or ("list<element: int64>" in words and "different lengths" in line)


def test_policylang_columns_of_no_rows(tmp_path: Path) -> None:
    empty = {name: pa.array([], pa.int32()) for name in ("prompt_id", "token_idx", "layer_idx")} | {
        "selected_experts": pa.array([], pa.list_(pa.int32()))
    }
    with pytest.raises(InputError, match="no routed tokens"):
        import_trace(policylang(tmp_path, **empty), "moe-policylang", ImportOptions(n_experts=4))


def test_flame_layers_are_counted_from_1_and_samples_may_be_absent(tmp_path: Path) -> None:
    path, options = FILES["flame-moe"](tmp_path)
    header = import_trace(path, "flame-moe", options).header
    assert (header.model, header.moe_layers, header.n_model_layers) == (
        "flame-moe-290m",
        LAYERS,
        N_MODEL_LAYERS,
    )
    assert header.recorder == "FLAME-MoE (iter_540)"
    alone = shutil.copytree(path, tmp_path / "alone")
    trace = import_trace(alone, "flame-moe", ImportOptions(phase="decode", n_experts=N_EXPERTS))
    assert trace.token_id is None
    assert trace.header.model == "flame-moe"
    assert trace.phase.all()


def test_flame_faults(tmp_path: Path) -> None:
    path, options = FILES["flame-moe"](tmp_path)
    samples = tmp_path / "flame-moe-290m" / "samples"

    def fault() -> str:
        with pytest.raises(InputError) as caught:
            import_trace(path, "flame-moe", options)
        return one_line(caught.value)

    (samples / "001.parquet").unlink()
    assert "samples: 5 tokens; 7, as the layers have" in fault()
    short = pq.read_table(path / "layer_03.parquet")
    pq.write_table(short.slice(0, 4), path / "layer_03.parquet")
    assert "layer_03.parquet: (4, 2) experts, (4, 2) scores; (7, 2) in all files of iter_540" in fault()
    pq.write_table(short, path / "layer_00.parquet")
    assert "layers are counted from 1" in fault()
    pq.write_table(short.drop_columns("scores"), path / "layer_01.parquet")
    (path / "layer_00.parquet").unlink()
    assert "layer_01.parquet: no column 'scores'" in fault()


# llama.cpp: rows of the last layer belong to the last tokens of their pass.

LLAMA = """# moesim llama.cpp routing 1 model=/m/Tiny-Q4.gguf n_layer=2 n_expert=4 n_expert_used=1
sequence,phase,pass,n_tokens,layer,n_rows,row,expert_0
0,0,0,3,0,3,0,1
0,0,0,3,0,3,1,2
0,0,0,3,0,3,2,3
0,0,1,2,0,2,0,0
0,0,1,2,0,2,1,1
0,0,1,2,1,1,0,2
0,1,2,1,0,1,0,3
0,1,2,1,1,1,0,0
1,0,3,2,0,2,0,0
1,0,3,2,0,2,1,1
1,0,3,2,1,2,0,2
1,0,3,2,1,2,1,3
"""


def test_llama_cpp_prompts_in_several_passes(tmp_path: Path) -> None:
    trace = import_trace(write(tmp_path / "r.csv", LLAMA))
    assert trace.header.model == "Tiny-Q4"
    assert trace.sequence.tolist() == [0] * 6 + [1] * 2
    assert trace.position.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert trace.phase.tolist() == [0] * 5 + [1] + [0] * 2
    assert trace.experts[:, 0, 0].tolist() == [1, 2, 3, 0, 1, 3, 0, 1]
    assert trace.experts[:, 1, 0].tolist() == [-1, -1, -1, -1, 2, 0, 2, 3]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0,0,1,2,0,2,0,0", "0,0,5,2,0,2,0,0", "pass 1 layer 0 row 1: passes are not in order"),
        ("0,0,1,2,0,2,1,1", "0,0,1,3,0,2,1,1", "its pass has another sequence or n_tokens"),
        ("0,0,1,2,0,2,1,1", "1,0,1,2,0,2,1,1", "its pass has another sequence or n_tokens"),
        ("0,0,1,2,1,1,0,2", "0,0,1,2,1,3,0,2", "row, n_rows and n_tokens do not fit"),
        ("0,0,1,2,1,1,0,2", "0,0,1,2,1,1,1,2", "row, n_rows and n_tokens do not fit"),
        ("0,0,1,2,1,1,0,2", "0,0,1,2,1,1,-1,2", "row, n_rows and n_tokens do not fit"),
        ("0,0,1,2,1,1,0,2", "0,1,1,2,1,1,0,2", "sequence 0 position 4: phase differs between its rows"),
        ("0,0,1,2,1,1,0,2", "0,0,1,2,0,1,0,2", "the same row or slot twice"),
        ("0,0,1,2,1,1,0,2", "0,0,1,2,1,1,0,4", "allowed: 0..3"),
        ("routing 1", "routing 2", "its first line does not begin"),
        ("n_expert_used=1", "n_expert_used=0", "n_expert_used=0; allowed: 1..1024"),
        ("n_expert_used=1", "n_expert_used=2", "no column 'expert_1'; did you mean 'expert_0'?"),
        ("n_expert=4 ", "", "no 'n_expert=' in its # lines"),
        ("model=/m/Tiny-Q4.gguf ", "", "no 'model=' in its # lines"),
        (LLAMA[LLAMA.index("\n0,0,0") :], "\n", "no routed tokens"),
    ],
)
def test_llama_cpp_faults(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in LLAMA
    with pytest.raises(InputError) as caught:
        import_trace(write(tmp_path / "r.csv", LLAMA.replace(old, new, 1)), "llama-cpp")
    assert words in one_line(caught.value)


GUIDE = ROOT / "docs" / "guides" / "llama-cpp.md"
# As much of llama.cpp's headers as the callback uses, and a driver that plays a prompt of 3 tokens and one
# decode step through 2 layers of 4 experts, top-2 views of a sorted list of all 4.
STUBS = {
    "ggml.h": """#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
struct ggml_tensor { int64_t ne[4]; size_t nb[4]; char name[64]; void * data; };""",
    "ggml-backend.h": """#pragma once
#include "ggml.h"
inline void ggml_backend_tensor_get(const ggml_tensor * t, void * to, size_t offset, size_t size) {
    memcpy(to, (const char *) t->data + offset, size);
}""",
    "llama.h": """#pragma once
#include <cstdio>
#include <cstdint>
#include <cstring>
struct llama_model {};
inline int32_t llama_model_n_layer(const llama_model *) { return 2; }
inline int32_t llama_model_meta_val_str(const llama_model *, const char * key, char * to, size_t n) {
    const char * value = !strcmp(key, "general.architecture") ? "tiny"
        : !strcmp(key, "general.name") ? "Tiny MoE" : !strcmp(key, "tiny.expert_count") ? "4"
        : !strcmp(key, "tiny.expert_used_count") ? "2" : "";
    return snprintf(to, n, "%s", value);
}""",
    "main.cpp": """#include "moesim-routing.h"
static bool show(moesim_routing & r, int layer, int n, int first) {
    int32_t sorted[3][4];
    for (int i = 0; i < n; i++) for (int e = 0; e < 4; e++) sorted[i][e] = (first + i + layer + e) % 4;
    ggml_tensor t = {{2, n, 1, 1}, {4, 16, 16, 16}, "", sorted};
    snprintf(t.name, sizeof(t.name), "ffn_moe_topk-%d", layer);
    ggml_tensor other = {{2, n, 1, 1}, {4, 16, 16, 16}, "ffn_moe_weights-0", sorted};
    return moesim_routing_callback(&t, true, &r) && moesim_routing_callback(&t, false, &r)
        && !moesim_routing_callback(&other, true, &r) && moesim_routing_callback(&other, false, &r);
}
int main(int, char ** argv) {
    llama_model model;
    moesim_routing r;
    if (!moesim_routing_open(r, argv[1], &model)) return 1;
    if (!show(r, 0, 3, 0) || !show(r, 1, 1, 2)) return 2;
    r.phase = 1;
    if (!show(r, 0, 1, 3) || !show(r, 1, 1, 3)) return 3;
    fclose(r.out);
}""",
}


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
def test_the_callback_of_the_guide_writes_what_is_read(tmp_path: Path) -> None:
    callback = GUIDE.read_text(encoding="utf-8").split("```cpp\n")[1].split("```")[0]
    assert callback.count("\n") <= 60
    for name, text in (STUBS | {"moesim-routing.h": callback}).items():
        write(tmp_path / name, text)
    compiler = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", str(tmp_path)]
    program, out = str(tmp_path / "program"), str(tmp_path / "routing.csv")
    subprocess.run([*compiler, str(tmp_path / "main.cpp"), "-o", program], check=True)
    subprocess.run([program, out], check=True)
    trace = import_trace(out)
    assert trace.header.model == "Tiny MoE"
    assert trace.experts[:, 0].tolist() == [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert trace.experts[:, 1].tolist() == [[-1, -1], [-1, -1], [3, 0], [0, 1]]
    assert trace.phase.tolist() == [0, 0, 0, 1]


def test_npz_phases_other_than_0_and_1_are_refused(tmp_path: Path) -> None:
    experts = np.zeros((1, 1, 1), dtype=np.int8)
    options = ImportOptions(axes=("token", "layer", "k"), n_experts=1)
    np.savez(tmp_path / "a.npz", experts=experts, phase=[257])  # 1 in 8 bits
    with pytest.raises(InputError, match="unknown phase"):
        import_trace(tmp_path / "a.npz", "npz", options)
    np.savez(tmp_path / "b.npz", experts=experts, phase=[0], sequence=[-(1 << 40)])  # 0 in 32 bits
    with pytest.raises(InputError, match="'sequence' goes from -1099511627776"):
        import_trace(tmp_path / "b.npz", "npz", options)


# Branches of the older formats that their own tests do not reach.


def test_folders_and_arrays_of_other_formats(tmp_path: Path) -> None:
    path, _ = FILES["qwen1.5-json"](tmp_path)
    file = path / "run_1.json"
    file.write_text(file.read_text().replace('"tiny"', '"another"'))
    with pytest.raises(InputError, match="another model or size than the file before"):
        import_trace(path, "qwen1.5-json")
    file.write_text(
        file.read_text().replace('"another"', '"tiny"').replace('"experts": [', '"experts": 5, "x": [', 1)
    )
    with pytest.raises(InputError, match="a list of numbers for each layer"):
        import_trace(path, "qwen1.5-json")
    np.savez(tmp_path / "a.npz", ids=np.zeros((1, 1), dtype=int))
    with pytest.raises(InputError, match="no array 'ids' of 3 axes"):
        import_trace(tmp_path / "a.npz", "gpt-oss-npz")
    path, _ = FILES["gpt-oss-npz"](tmp_path)
    with pytest.raises(InputError, match="3 layers are no GPT-OSS model"):
        import_trace(path, "gpt-oss-npz")


def test_samples_beyond_the_tokens_are_not_read(tmp_path: Path) -> None:
    path, options = FILES["flame-moe"](tmp_path)
    write(tmp_path / "flame-moe-290m" / "samples" / "002.parquet", "no Parquet")
    assert import_trace(path, "flame-moe", options).token_id is not None


def test_a_broken_parquet_is_not_recognised(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no format is recognised"):
        sniff(write(tmp_path / "a.parquet", "PAR1 and no more"))


# The guide: its table names every format, its examples and commands do what it says.

FORMATS = GUIDE.with_name("formats.md").read_text(encoding="utf-8")


def block(language: str, section: str) -> str:
    """Return the first block of code in this language of a section."""
    return FORMATS.split(f"\n## {section}\n")[1].split(f"```{language}\n")[1].split("```")[0]


def test_the_guide_names_every_format() -> None:
    for name in IMPORTERS:
        assert f"`{name}`" in FORMATS.split("\n## ")[0], name


@pytest.mark.parametrize("kind", ["jsonl", "csv", "npz and npy"])
def test_the_commands_of_the_guide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "jsonl":
        write(tmp_path / "routing.jsonl", block("json", kind))
    elif kind == "csv":
        write(tmp_path / "routing.csv", block("csv", kind))
    else:
        np.savez(tmp_path / "routing.npz", experts=np.array([[[3, 0]], [[3, 2]]]))
    words = block("sh", kind).split()
    monkeypatch.setattr(sys, "argv", words)
    with contextlib.suppress(SystemExit):
        main()
    assert "2 tokens" in capsys.readouterr().out
    assert read_trace(tmp_path / "trace.parquet").experts[:, 0].tolist() == [[3, 0], [3, 2]]


def test_the_guide_cuts_a_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, options = FILES["flame-moe"](tmp_path)
    path.rename(path.with_name("iter_5473"))
    monkeypatch.chdir(tmp_path)
    code = block("python", "flame-moe").replace("50_000", "4")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    trace = import_trace("cut/flame-moe-290m/actives/iter_5473", None, options)
    assert trace.experts.tolist() == experts_of(TOKENS[:4])
