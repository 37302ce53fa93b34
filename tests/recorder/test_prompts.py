"""Prompts come from text, one a line, or from JSONL; the rest is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.trace.recorders.prompts import read_prompts


def test_text_has_a_prompt_a_line(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("A mill.\n\n  A river, \u2028 and more\n")
    assert read_prompts(file) == ["A mill.", "  A river, \u2028 and more"]


def test_jsonl_prompts_may_span_lines(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a\\nb", "kind": "code"}\n\n{"prompt": "c"}\n')
    assert read_prompts(file) == ["a\nb", "c"]


def test_jsonl_conversations_keep_role_and_text(tmp_path: Path) -> None:
    file = tmp_path / "talks.jsonl"
    file.write_text(
        '{"messages": [{"role": "user", "content": "a", "name": "x"}]}\n'
        '{"prompt": "b", "messages": [{"role": "user", "content": "c"}]}\n'
    )
    assert read_prompts(file) == [[{"role": "user", "content": "a"}], "b"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.txt", b"\n \n", "has no prompt"),
        ("p.txt", b"\xff\xfe", "is not UTF-8"),
        ("p.jsonl", b"", "has no prompt"),
        ("p.jsonl", b'{"prompt": "a"}\n{prompt', r"p.jsonl:2: is not JSON"),
        ("p.jsonl", b'{"text": "a"}', "p.jsonl:1: has no text under 'prompt'"),
        ("p.jsonl", b'["a"]', "has no text under 'prompt'"),
        ("p.jsonl", b'{"prompt": " "}', "has no text under 'prompt'"),
        ("p.jsonl", b'{"messages": []}', "'messages' is no list of messages"),
        ("p.jsonl", b'{"messages": {"role": "user"}}', "'messages' is no list of messages"),
        ("p.jsonl", b'{"messages": [{"role": "user"}]}', "'messages' is no list of messages"),
        ("p.jsonl", b'{"messages": ["hello"]}', "'messages' is no list of messages"),
        ("p.jsonl", b"[" * 100_000, "p.jsonl:1: is not JSON"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_prompts(tmp_path / name)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the prompts: No such file"):
        read_prompts(tmp_path / "none.txt")
