"""Prompts as token ids: plain text, or through the chat template of the tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.trace.recorders.huggingface import LoadedModel
from simulator.trace.recorders.prompts import Messages, Prompt, Tokens


def tokenize(model: LoadedModel, prompts: Sequence[Prompt], decode: int, *, chat: bool) -> list[Tokens]:
    """Return the token ids of prompts; with ``chat`` a text is what the user says in a conversation.

    Raises InputError where a prompt does not fit the context with ``decode`` tokens after it.
    """
    encoded: list[Tokens] = []
    for number, prompt in enumerate(prompts, start=1):
        where = f"prompt {number}"
        if isinstance(prompt, str) and not chat:
            ids = model.tokenizer(prompt)["input_ids"]
        else:
            talk = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            ids = _conversation(model, talk, where)
        if not ids:
            raise InputError(where, "has no token in this model's vocabulary")
        if model.context is not None and len(ids) + decode > model.context:
            raise InputError(
                where,
                f"{len(ids)} tokens and {decode} decoded ones exceed the context of {model.context}",
                "shorten the prompt or lower --decode",
            )
        encoded.append(np.array(ids, dtype=np.int32))
    return encoded


def _conversation(model: LoadedModel, messages: Messages, where: str) -> Any:
    """Return the token ids of a conversation, and of the answer's beginning unless it has its answer."""
    if not model.tokenizer.chat_template:
        raise InputError(
            where,
            f"the tokenizer of {model.name} has no chat template",
            "text without --chat, or another model",
        )
    try:
        return model.tokenizer.apply_chat_template(
            messages,
            add_generation_prompt=messages[-1]["role"] != "assistant",
            tokenize=True,
            return_dict=True,
        )["input_ids"]
    except Exception as fault:  # a template may raise anything
        said = str(fault).strip().split("\n")[0] or type(fault).__name__
        raise InputError(where, f"the chat template refuses it: {said}") from fault
