"""Every format's example comes back as it was written, through Parquet too, and is recognised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.importers.registry import IMPORTERS, import_trace, sniff
from simulator.trace.parquet import read_trace, write_trace
from tests.trace.examples import RECORDED, assert_same, needs_recorded
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
UNCERTAIN = {"npz", "npz:npy", "jsonl:lists"}
GENERAL = {"csv": "records", "jsonl": "records"}  # recognised as another format, which reads it too


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
    if name in UNCERTAIN:
        with pytest.raises(InputError, match="no format is recognised"):
            sniff(path)
        return
    name = name.partition(":")[0]
    if options.column:  # names that nobody knows
        assert import_trace(path, None, options).n_tokens
        return
    assert sniff(path) == GENERAL.get(name, name)
    told = replace(options, key={}) if name in GENERAL else options
    found, named = import_trace(path, None, told), import_trace(path, name, options)
    if name in GENERAL:
        assert (found.experts == named.experts).all()
        assert (found.position == named.position).all()
    else:
        assert_same(found, named)
    if (
        path.is_dir() or name in SERVING or GENERAL.get(name, name) == "records"
    ):  # these are told by what is further in
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


def test_a_broken_parquet_is_not_recognised(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no format is recognised"):
        sniff(write(tmp_path / "a.parquet", "PAR1 and no more"))
