"""``routed_experts`` in answers of SGLang and vLLM: JSON of one answer or a list, a folder of them, or JSONL.

SGLang: ``meta_info.routed_experts``, or ``sglext.routed_experts`` in its OpenAI API: base64 of int32 without
a shape, [tokens, all layers, k]. vLLM: ``choices[].routed_experts``, as lists or base64 of a whole .npy, of
prompt and generated tokens, or of the latter alone where ``prompt_routed_experts`` holds the former; dense
layers are planes of zeros in some versions, and -1 stands for tokens of a cached prefix. The last generated
token was never routed, and rows may begin late (``routed_experts_start_len``,
``routed_experts_prompt_start``), so positions are counted from the end. Source: documentation and request
protocols of sglang and vllm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import DECODE, PREFILL, Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids
from simulator.trace.importers.generic import choose_phases, model_fields
from simulator.trace.importers.limits import TEXT_EXPANSION, brief, check_file
from simulator.trace.importers.options import ImportOptions, shape
from simulator.trace.importers.routed_rows import ASK, decode
from simulator.trace.importers.suspicions import check_ids, check_recording, without_zero_rows
from simulator.trace.importers.text import head, json_files, left_out, parse_json

MOST_TOKENS = 2**31 - 1
KEYS = (b'"meta_info":', b'"choices":', b'"sglext":')
Ints = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Answer:
    """One generated sequence as it was answered; numbers of tokens are None where it does not say.

    ``start`` is the position of the first row.
    """

    where: str
    engine: str
    routed: Any
    prompt_routed: Any
    n_prompt: int | None
    n_generated: int | None
    start: int | None = None


def sniff(path: Path) -> bool:
    """Tell whether the (first) answer begins as one of these engines' does, with the key unescaped."""
    return any(
        b'routed_experts":' in first and any(key in first for key in KEYS)
        for first in map(head, _files(path)[0])
    )


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace, an answer's choice a sequence. Needs ``n_experts`` or a known ``model``.

    Raw base64 needs a known ``model``, or ``top_k`` and an answer that counts its tokens.
    """
    where = str(path)
    rows: list[Ints] = []
    starts: list[int] = []
    prompts: list[int | None] = []
    answers: list[_Answer] = []
    engine = ""
    for answer in _answers(path):
        start, experts = _rows(answer, options)
        if rows and experts.shape[1:] != rows[0].shape[1:]:
            hint = f"{rows[0].shape[1:]} in all answers"
            raise InputError(answer.where, f"layers x k = {experts.shape[1:]}", hint)
        rows.append(experts)
        starts.append(start)
        prompts.append(answer.n_prompt)
        answers.append(answer)
        engine = answer.engine
    if not rows:
        raise InputError(where, "no answers", ASK)
    experts = _moe_layers(as_ids(np.concatenate(rows), where), options, where)
    if options.top_k not in (None, experts.shape[2]):
        raise InputError("--top-k", f"{options.top_k}", f"the answers have {experts.shape[2]}")
    lengths = [len(part) for part in rows]
    sequence = np.repeat(np.arange(len(rows), dtype=np.int32), lengths)
    position = np.concatenate([np.arange(start, start + n) for start, n in zip(starts, lengths, strict=True)])
    known = [n_prompt for n_prompt in prompts if n_prompt is not None]
    recorded = None
    if len(known) == len(rows):
        recorded = np.where(position < np.repeat(known, lengths), PREFILL, DECODE).astype(np.uint8)
    phase, source = choose_phases(recorded, options, sequence)
    header = build_header(
        where,
        **model_fields(where, options, experts.shape[1], "an answer"),
        top_k=experts.shape[2],
        phase_source=source,
        recorder=f"{engine} routed_experts",
        prompt_source=f"{len(rows)} answers of a server",
        notes=left_out(_files(path)[1]),
    )
    for answer, start, n_rows in zip(answers, starts, lengths, strict=True):
        _check_whole(answer, start, n_rows)
    check_ids(experts, header.n_experts, where)
    return Trace(header, sequence, position.astype(np.int32), phase, experts, source=where)


def _answers(path: Path) -> Iterator[_Answer]:
    """Yield the generated sequences of a file or folder."""
    files, _ = _files(path)
    for name, content in chain.from_iterable(
        _jsonl(file) if file.suffix == ".jsonl" else json_files(file) for file in files or [path]
    ):
        for number, answer in enumerate(content if isinstance(content, list) else [content]):
            where = f"{name} answer {number}" if isinstance(content, list) else name
            if not isinstance(answer, dict):
                raise InputError(where, "no answer of a server", "an object with meta_info or choices")
            yield from _choices(answer, where)


def _files(path: Path) -> tuple[list[Path], list[str]]:
    """Return the file, or those of a folder with answers, and the names of the others."""
    if not path.is_dir():
        return [path], []
    there = sorted(path.iterdir())
    files = [file for file in there if file.suffix in (".json", ".jsonl") and _has_answers(file)]
    return files, [file.name for file in there if file not in files]


def _has_answers(file: Path) -> bool:
    check_file(file, TEXT_EXPANSION)
    data = file.read_bytes()
    return any(key.rstrip(b":") in data for key in KEYS)


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield place and content of each line, which may be long."""
    check_file(path, TEXT_EXPANSION)
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            yield f"{path} line {number}", parse_json(line, f"{path} line {number}")


def _choices(answer: dict[str, Any], where: str) -> Iterator[_Answer]:
    """Yield the sequences of an answer; SGLang's OpenAI API gives the first choice's experts only."""
    meta, choices, usage = answer.get("meta_info"), answer.get("choices"), answer.get("usage")
    counts = meta if isinstance(meta, dict) else usage if isinstance(usage, dict) else {}
    n_prompt, n_generated = (_count(counts, f"{name}_tokens", where) for name in ("prompt", "completion"))
    if isinstance(meta, dict):
        yield _Answer(where, "SGLang", meta.get("routed_experts"), None, n_prompt, n_generated)
        return
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise InputError(where, "no answer of a server", "an object with meta_info or choices")
    if len(choices) != 1:
        n_generated = None  # the sum over all of them
    extension = answer.get("sglext")
    if isinstance(extension, dict):
        yield _Answer(where, "SGLang", extension.get("routed_experts"), None, n_prompt, n_generated)
        return
    of_prompt = answer.get("prompt_routed_experts")
    for choice in choices:
        start = _count({**answer, **choice}, "routed_experts_prompt_start", where)
        yield _Answer(where, "vLLM", choice.get("routed_experts"), of_prompt, n_prompt, n_generated, start)


def _count(counts: dict[str, Any], name: str, where: str) -> int | None:
    """Return a number of tokens. Errors: InputError (no such number)."""
    value = counts.get(name)
    if value is not None and (type(value) is not int or not 0 <= value <= MOST_TOKENS):
        raise InputError(where, f"{name} is {brief(repr(value))}", f"a number up to {MOST_TOKENS}")
    return value


def _rows(answer: _Answer, options: ImportOptions) -> tuple[int, Ints]:
    """Return the position of the first row, and the experts [n, planes, k]."""
    n_prompt, n_generated = answer.n_prompt, answer.n_generated
    total = None if n_prompt is None or n_generated is None else n_prompt + max(n_generated - 1, 0)
    experts = decode(answer.routed, answer.where, options, total)
    if answer.prompt_routed is not None:
        of_prompt = decode(answer.prompt_routed, answer.where, options, n_prompt)
        parts = [part for part in (of_prompt, experts) if len(part)]
        start = (len(of_prompt) if n_prompt is None else n_prompt) - len(of_prompt)
        if len({part.shape[1:] for part in parts}) > 1 or start < 0:
            what = f"experts {of_prompt.shape} of the prompt, {experts.shape} of its answer"
            raise InputError(answer.where, what, f"[tokens, layers, k] of {n_prompt} prompt tokens")
        return start, np.concatenate(parts) if parts else experts
    if total is not None and len(experts) > total + 1:  # some versions have a row for the last token
        raise InputError(answer.where, f"{len(experts)} rows", f"{total} tokens were routed")
    return max((total or 0) - len(experts), 0), experts


def _check_whole(answer: _Answer, start: int, n_rows: int) -> None:
    """Refuse rows that are lacking without a word: vLLM marks a cached prefix, and SGLang may begin late."""
    if answer.engine == "vLLM" and answer.prompt_routed is None and n_rows and start != (answer.start or 0):
        what = (
            f"{n_rows} rows for {start + n_rows} routed tokens: {start} are lacking, and nothing says which"
        )
        hint = "the engine has dropped rows; record again, fewer requests at a time"
        raise InputError(answer.where, what, hint)


def _moe_layers(experts: npt.NDArray[np.int16], options: ImportOptions, where: str) -> npt.NDArray[np.int16]:
    """Return the planes of MoE layers [T, L, k] of those of all layers, or all where there are no others."""
    model = shape(options)
    layers: Sequence[int] = options.moe_layers or (model.moe_layers if model else ())
    n_planes = experts.shape[1]
    if layers and len(layers) < n_planes and layers[-1] < n_planes:
        experts = experts[:, layers]
    experts = without_zero_rows(experts, options)
    check_recording(experts, layers if len(layers) == experts.shape[1] else range(experts.shape[1]), where)
    return experts
