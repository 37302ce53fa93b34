"""Routing as serving engines record it, written with plain loops by the producers' documents.

``serve`` plays SGLang's scheduler: one prompt at a time is cut into chunks, running requests keep their
order, and those that finish drop out. It knows the requests, which the recording does not name.
"""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simulator.trace.importers.options import ImportOptions
from tests.trace.importers import trace_files
from tests.trace.importers.torch_files import save
from tests.trace.importers.trace_files import TOKENS, Token, passes, write

DENSE, LAYERS, N_EXPERTS, K, SLOTS = (0,), (1, 2), 6, 2, 8
N_MODEL_LAYERS = len(DENSE) + len(LAYERS)
PHYSICAL = [[0] * 8, [3, 1, 4, 0, 5, 2, 1, 3], [5, 4, 3, 2, 1, 0, 0, 5]]
EXTEND, DECODE, MIXED = 1, 2, 3
Row = tuple[int, int, int, int, tuple[tuple[int, ...], ...]]


@dataclass(eq=False)
class Request:
    """A request: tokens of its prompt that are cached, its prompt, how many tokens it generates at least."""

    cached: int
    prompt: int
    generate: int
    number: int = -1
    position: int = 0
    rows: list[Row] = field(default_factory=list)


def serve(requests: list[Request], chunk: int, seed: int, *, mixed: bool = False) -> list[dict[str, Any]]:
    """Return records of a server of these requests, whose ``rows`` say what a trace should hold.

    A row is sequence, position, phase, token id, and the experts of each MoE layer.
    """
    rng = random.Random(seed)
    waiting, records = list(requests), []
    running: list[Request] = []
    numbers = iter(range(len(requests)))
    for request in requests:
        request.position = request.cached
    while waiting or running:
        prompts: list[tuple[Request, int]] = []
        room = chunk
        while waiting and room > 1:  # a run of one token after another looks decoded
            request = waiting[0]
            length = min(room, request.prompt - request.position)
            prompts.append((request, length))
            room -= length
            if request.position + length < request.prompt:
                break
            waiting.pop(0)
        decoding = running if mixed or not prompts else []
        runs = [*prompts, *((request, 1) for request in decoding)]
        mode = MIXED if prompts and decoding else EXTEND if prompts else DECODE
        for request, _ in runs:
            request.number = next(numbers) if request.number < 0 else request.number
        records.append(record(runs, len(prompts), mode, rng))
        for request in decoding:
            request.generate -= 1
        ended = [request for request, _ in prompts if request not in waiting]
        # One that finishes where another is, or comes to be, cannot be told from it: such go on.
        taken = {request.prompt for request in requests}
        taken |= {request.position for request in running if request.generate > 0}
        running = [request for request in running if request.generate > 0 or request.position in taken]
        running = [*ended, *running] if mode == MIXED else [*running, *ended]
    return records


def record(runs: list[tuple[Request, int]], n_prompts: int, mode: int, rng: random.Random) -> dict[str, Any]:
    """Return what the recorder keeps of a pass, having moved the requests on."""
    ids: list[int] = []
    positions: list[int] = []
    topk = np.full((N_MODEL_LAYERS, sum(length for _, length in runs), SLOTS), -1, dtype=np.int32)
    for number, (request, length) in enumerate(runs):
        for _ in range(length):
            rows = []
            for layer in LAYERS:
                chosen = rng.sample(range(N_EXPERTS), K)
                places = [
                    rng.choice([p for p, expert in enumerate(PHYSICAL[layer]) if expert == one])
                    for one in chosen
                ]
                topk[layer, len(ids), :K] = places
                rows.append(tuple(chosen))
            token = rng.randrange(100_000)
            phase = int(number >= n_prompts)
            request.rows.append((request.number, request.position, phase, token, tuple(rows)))
            ids.append(token)
            positions.append(request.position)
            request.position += 1
    return {
        "forward_pass_id": 7,
        "rank": 0,
        "gatherer_key": "primary",
        "input_ids": ids,
        "positions": positions,
        "extend_seq_lens": None if mode == DECODE else [length for _, length in runs],
        "forward_mode": mode,
        "topk_ids_of_layer": topk,
        "misc_objects": [],
        "global_physical_count": np.zeros((N_MODEL_LAYERS, len(PHYSICAL[0])), dtype=np.int32),
    }


def recording(path: Path, records: list[dict[str, Any]], physical: Any = PHYSICAL) -> Path:
    """Write the .pt of a rank."""
    return save(
        path, {"records": records, "last_physical_to_logical_map": np.array(physical, dtype=np.int64)}
    )


def megatron_line(number: int, place: int, rows: list[list[int]], **changes: Any) -> str:
    """Return a line of Megatron-core's routing trace, layers counted from 0."""
    content = {
        "step": number,
        "stage": "pre_dispatch",
        "block": "decoder",
        "layer": place,
        "rank": 0,
        "num_tokens": len(rows),
        "topk": K,
        "top_indices": rows,
    }
    return json.dumps(content | changes) + "\n"


# The example of trace_files as these producers write it; megatron knows neither phases nor ids of tokens.


def sglang(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a recording, the experts placed in descending order."""
    physical = np.tile(np.arange(trace_files.N_EXPERTS)[::-1], (trace_files.N_MODEL_LAYERS, 1))
    records: list[dict[str, Any]] = []
    for batch in passes():
        topk = np.full((trace_files.N_MODEL_LAYERS, len(batch), SLOTS), -1, dtype=np.int32)
        for place, token in enumerate(batch):
            for layer, (experts, _) in token.rows.items():
                topk[layer, place, : len(experts)] = [trace_files.N_EXPERTS - 1 - one for one in experts]
        prompt = batch[0].phase == trace_files.PREFILL
        content = {
            "forward_pass_id": len(records),
            "rank": 0,
            "gatherer_key": "primary",
            "input_ids": [token.token_id for token in batch],
            "positions": [token.position for token in batch],
            "extend_seq_lens": [len(batch)] if prompt else None,
            "forward_mode": EXTEND if prompt else DECODE,
            "topk_ids_of_layer": topk,
        }
        records.append(content)
    return recording(folder / "expert_distribution_recorder_1.5_0.pt", records, physical), ImportOptions()


def planes(tokens: list[Token]) -> np.ndarray:
    """Return the experts of all layers [T, model layers, k], zeros in the dense ones."""
    array = np.zeros((len(tokens), trace_files.N_MODEL_LAYERS, trace_files.K), dtype=np.int32)
    array[:, trace_files.LAYERS, :] = trace_files.experts_of(tokens)
    return array


def answers(encode: Callable[[np.ndarray], Any], folder: Path, place: str) -> tuple[Path, ImportOptions]:
    """Write an answer a sequence; it says of one token more than was routed."""
    found = []
    for sequence in (0, 1):
        tokens = [token for token in TOKENS if token.sequence == sequence]
        n_prompt = sum(token.phase == trace_files.PREFILL for token in tokens)
        counts = {"prompt_tokens": n_prompt, "completion_tokens": len(tokens) - n_prompt + 1}
        routed = {"routed_experts": encode(planes(tokens))}
        found.append(
            {"meta_info": counts | routed} if place == "meta_info" else {"usage": counts, "choices": [routed]}
        )
    options = ImportOptions(
        n_experts=trace_files.N_EXPERTS, top_k=trace_files.K, moe_layers=trace_files.LAYERS
    )
    return write(folder / "answers.json", json.dumps(found)), options


def bare(array: np.ndarray) -> str:
    """Return base64 of int32."""
    return base64.b64encode(array.astype("<i4").tobytes()).decode()


def whole_npy(array: np.ndarray) -> str:
    """Return base64 of an .npy."""
    file = io.BytesIO()
    np.save(file, array)
    return base64.b64encode(file.getvalue()).decode()


def megatron(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a rank's lines, a sequence a step."""
    into = folder / "trace"
    into.mkdir()
    text = ""
    for sequence in (0, 1):
        tokens = [token for token in TOKENS if token.sequence == sequence]
        for layer in trace_files.LAYERS:
            text += megatron_line(sequence, layer, [token.rows[layer][0] for token in tokens])
    write(into / "router_trace_rank0.jsonl", text)
    return into, ImportOptions(n_experts=trace_files.N_EXPERTS)


FILES: dict[str, Callable[[Path], tuple[Path, ImportOptions]]] = {
    "sglang": sglang,
    "routed-experts": lambda folder: answers(bare, folder, "meta_info"),
    "routed-experts:lists": lambda folder: answers(lambda array: array.tolist(), folder, "choices"),
    "routed-experts:npy": lambda folder: answers(whole_npy, folder, "choices"),
    "megatron": megatron,
}
