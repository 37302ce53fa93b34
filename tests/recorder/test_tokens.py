"""Prompts become tokens as they are, or through the chat template of the tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the recorder needs torch: pip install 'moesim[record]'")
transformers = pytest.importorskip(
    "transformers", reason="the recorder needs transformers: pip install 'moesim[record]'"
)

from simulator.cli.record import record
from simulator.errors import InputError
from simulator.trace.parquet import read_trace
from simulator.trace.recorders.huggingface import LoadedModel
from simulator.trace.recorders.tokens import tokenize
from tests.recorder.conftest import TEMPLATE, save_tokenizer

UNK, THE, MILL, STOOD, STILL, AND, RIVER, RAN, USER, ASSISTANT = range(10)


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, TEMPLATE)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return LoadedModel("talker", None, tokenizer, 1, 12, frozenset())


def ids(model: LoadedModel, prompt: Any, *, chat: bool, decode: int = 0) -> list[int]:
    return [int(token) for token in tokenize(model, [prompt], decode, chat=chat)[0]]


def test_a_text_is_as_it_is_or_what_the_user_says(talker: LoadedModel) -> None:
    assert ids(talker, "the mill", chat=False) == [THE, MILL]
    assert ids(talker, "the mill", chat=True) == [USER, THE, MILL, ASSISTANT]


@pytest.mark.parametrize("chat", [False, True])
def test_a_conversation_always_goes_through_the_template(talker: LoadedModel, chat: bool) -> None:
    talk = [{"role": "user", "content": "the river"}, {"role": "assistant", "content": "ran"}]
    assert ids(talker, talk[:1], chat=chat) == [USER, THE, RIVER, ASSISTANT]
    assert ids(talker, talk, chat=chat) == [USER, THE, RIVER, ASSISTANT, RAN]  # it has its answer


def test_a_template_that_refuses(talker: LoadedModel) -> None:
    with pytest.raises(InputError, match="prompt 1: the chat template refuses it: no system role"):
        ids(talker, [{"role": "system", "content": "the"}], chat=True)


def test_the_template_counts_towards_the_context(talker: LoadedModel) -> None:
    assert len(ids(talker, "the mill", chat=True, decode=8)) == 4
    with pytest.raises(InputError, match="prompt 1: 4 tokens and 9 decoded ones exceed the context of 12"):
        ids(talker, "the mill", chat=True, decode=9)


def test_a_prompt_without_tokens(talker: LoadedModel) -> None:
    with pytest.raises(InputError, match="prompt 1: has no token"):
        ids(talker, " \t", chat=False)


def test_a_tokenizer_without_a_template(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="prompt 1: the tokenizer of tiny-olmoe has no chat template; text"):
        record(**options, chat=True)


def test_conversations_from_the_command_line(options: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    talker = tmp_path / "talker"
    talker.mkdir()
    for file in folder.iterdir():
        (talker / file.name).symlink_to(file)
    for file in (*talker.glob("token*"), *talker.glob("special*")):
        file.unlink()
    save_tokenizer(talker, TEMPLATE)
    prompts = tmp_path / "talks.jsonl"
    lines = [{"messages": [{"role": "user", "content": "the mill"}]}, {"prompt": "the river"}]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    record(**options | {"model": talker, "prompts": prompts, "decode": 1}, keep_text=True)
    trace = read_trace(options["output"])
    assert "prompts went through the chat template" in trace.header.notes
    assert trace.token_id is not None
    assert trace.token_id[:4].tolist() == [USER, THE, MILL, ASSISTANT]
    assert trace.token_id[5:7].tolist() == [THE, RIVER]
