"""A tiny model on disk for the recorder's tests; one thread for torch.

Threads that wait for each other at every tiny operation stand still on a machine that is busy.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ m.role }} {{ m.content }} {% endfor %}{% if add_generation_prompt %}assistant{% endif %}"
)
WORDS = ("[UNK]", "the", "mill", "stood", "still", "and", "river", "ran", "user", "assistant")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)


def save_tokenizer(folder: Path, template: str | None = None) -> None:
    import tokenizers
    import transformers

    words = {word: number for number, word in enumerate(WORDS)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=template)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny OLMoE on disk, with a tokenizer of ten words."""
    from tests.recorder.models import build

    folder = tmp_path_factory.mktemp("models") / "tiny-olmoe"
    build("olmoe").save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture
def options(folder: Path, tmp_path: Path) -> dict[str, Any]:
    """Options of a recording: three prompts, a batch each."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the mill stood still\nthe river ran\nand the mill\n")
    return {"model": folder, "prompts": prompts, "output": tmp_path / "t.parquet", "decode": 6}
