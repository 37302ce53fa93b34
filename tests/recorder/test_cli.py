"""``moesim trace record`` from a model folder to a Parquet file, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the recorder needs torch: pip install 'moesim[record]'")
transformers = pytest.importorskip(
    "transformers", reason="the recorder needs transformers: pip install 'moesim[record]'"
)
tokenizers = pytest.importorskip("tokenizers")

from simulator.cli.record import record
from simulator.errors import InputError
from simulator.trace.parquet import read_trace
from tests.recorder.models import COMMON, build


def save_tokenizer(folder: Path) -> None:
    words = {"[UNK]": 0, "the": 1, "mill": 2, "stood": 3, "still": 4, "and": 5, "river": 6, "ran": 7}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner).save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny OLMoE on disk, with a tokenizer of eight words."""
    folder = tmp_path_factory.mktemp("models") / "tiny-olmoe"
    build("olmoe").save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture
def options(folder: Path, tmp_path: Path) -> dict[str, Any]:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the mill stood still\nthe river ran\nand the mill\n")
    return {"model": folder, "prompts": prompts, "output": tmp_path / "t.parquet", "decode": 6}


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
    with pytest.raises(InputError, match=r"t\.parquet: exists"):
        record(**options)
    assert options["output"].read_text() == "mine"


def test_more_tokens_than_the_context(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="prompt 1: 4 tokens and 125 decoded ones exceed the context of 128"):
        record(**options | {"decode": 125})


def test_nothing_is_left_of_a_recording_that_fails(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulator.trace.recorders import record as recording

    whole = recording.to_trace
    calls = []

    def fail_at_the_second(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*args)

    monkeypatch.setattr(recording, "to_trace", fail_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        record(**options)
    assert [file.name for file in options["output"].parent.iterdir()] == ["prompts.txt"]
