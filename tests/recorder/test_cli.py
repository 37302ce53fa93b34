"""``moesim trace record`` from a model folder to a Parquet file, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the recorder needs torch: pip install 'moesim[record]'")
transformers = pytest.importorskip(
    "transformers", reason="the recorder needs transformers: pip install 'moesim[record]'"
)

from simulator.cli.record import Dtype, record
from simulator.errors import InputError
from simulator.trace.parquet import read_trace
from tests.recorder.conftest import save_tokenizer
from tests.recorder.models import COMMON


def test_the_file_holds_the_recording(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    record(**options, batch=2, seed=5, licence="CC0-1.0", notes="Of a tiny model.")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    trace = read_trace(options["output"])
    assert trace.n_tokens == 4 + 3 + 3 + 3 * 6
    assert len(trace.predicted) == 3
    header = trace.header
    assert (header.model, header.licence, header.prompt_source) == ("tiny-olmoe", "CC0-1.0", "prompts.txt")
    assert header.recorder == "moesim trace record" and header.precision == "float32"
    assert header.notes.startswith("Of a tiny model. up to 6 decoded tokens a sequence, temperature 0.8")
    assert header.recorder_version is not None and transformers.__version__ in header.recorder_version


def test_two_runs_write_the_same_bytes(options: dict[str, Any]) -> None:
    record(**options)
    again = options["output"].with_name("again.parquet")
    record(**options | {"output": again})
    assert again.read_bytes() == options["output"].read_bytes()


def test_rounding_is_small_and_said(options: dict[str, Any]) -> None:
    record(**options)
    exact = read_trace(options["output"])
    coarse_file = options["output"].with_name("coarse.parquet")
    record(**options | {"output": coarse_file}, mantissa_bits=4)
    coarse = read_trace(coarse_file)
    assert "rounded to 4 mantissa bits" in coarse.header.notes
    np.testing.assert_array_equal(coarse.weights, exact.weights)
    assert coarse.gate_top_p is not None and exact.gate_top_p is not None
    for got, want in zip(
        (coarse.gate_top_p, *coarse.predicted_weights),
        (exact.gate_top_p, *exact.predicted_weights),
        strict=True,
    ):
        np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=1 / 32, atol=1e-7)
        assert len(np.unique(got)) < len(np.unique(want))


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_without_the_extra(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else name)
    with pytest.raises(InputError, match=rf"needs {package}; pip install 'moesim\[record\]'"):
        record(**options)


def test_no_model_folder(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no model folder"):
        record(**options | {"model": tmp_path / "none"})


def test_a_folder_without_weights(options: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(InputError, match="cannot load the model"):
        record(**options | {"model": bare})


def test_a_dense_model(options: dict[str, Any], tmp_path: Path) -> None:
    dense = tmp_path / "dense"
    config = transformers.LlamaConfig(**COMMON, intermediate_size=48, num_hidden_layers=2)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(dense)
    save_tokenizer(dense)
    with pytest.raises(InputError, match="no routers found"):
        record(**options | {"model": dense})
    assert not options["output"].exists()


def test_an_output_that_exists_is_left_alone(options: dict[str, Any]) -> None:
    options["output"].write_text("mine")
    with pytest.raises(InputError, match=r"t\.parquet: is there already"):
        record(**options)
    assert options["output"].read_text() == "mine"


def test_more_tokens_than_the_context(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="prompt 1: 4 tokens and 125 decoded ones exceed the context of 128"):
        record(**options | {"decode": 125})


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", "cuda"])
def test_a_device_that_is_not_there(options: dict[str, Any], device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(
        InputError, match=f"--device: '{device}' does not work here: .*; cpu, or cuda"
    ) as said:
        record(**options, device=device)
    assert "\n" not in str(said.value)


def test_a_device_that_is_full(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.trace.recorders import record as recording

    def out_of_memory(*_args: Any, **_options: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(recording, "run_batch", out_of_memory)
    with pytest.raises(InputError, match="batch 1: the memory of the device is full; a smaller --batch"):
        record(**options)


@pytest.mark.parametrize("dtype", [Dtype.BFLOAT16, Dtype.FLOAT16])
def test_half_precision(options: dict[str, Any], dtype: Dtype) -> None:
    record(**options, dtype=dtype, batch=3, keep_text=True)
    half = read_trace(options["output"])
    assert half.header.precision == dtype.value and half.header.expert_bytes == (2 * 3 * 32 * 16,) * 5
    record(**options | {"output": options["output"].with_name("whole.parquet")}, batch=3, keep_text=True)
    whole = read_trace(options["output"].with_name("whole.parquet"))
    first = np.flatnonzero(half.position == 0)  # nothing was drawn before it
    same = np.sort(half.experts[first]) == np.sort(whole.experts[first])
    assert same.mean() > 0.9
    assert half.weights is not None and whole.weights is not None
    np.testing.assert_allclose(
        np.sort(half.weights[first]).astype(float), np.sort(whole.weights[first]), rtol=0.05
    )


def test_the_text_is_left_out_unless_asked_for(options: dict[str, Any]) -> None:
    record(**options)
    trace = read_trace(options["output"])
    assert trace.token_id is None and "token_ids" not in trace.offers()
    raw = options["output"].read_bytes()
    assert b"mill" not in raw and b"token_id" not in raw
    kept = options["output"].with_name("kept.parquet")
    record(**options | {"output": kept}, keep_text=True)
    other = read_trace(kept)
    assert other.token_id is not None and other.token_id[:4].tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(other.experts, trace.experts)


def test_progress_has_tokens_and_time_left(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    record(**options)
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "28 of 28 tokens" in said and re.search(r"left 0:00:00", said)
