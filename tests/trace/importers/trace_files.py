"""A small valid file of every format, written with plain loops as its producer documents it.

The tests read them, and the fuzzer changes them. A name is that of a format, with what it is an example
of behind a colon where there are several.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.trace.importers.options import ImportOptions

LAYERS, N_MODEL_LAYERS, N_EXPERTS, K = (1, 2, 4), 5, 8, 2
PREFILL, DECODE = 0, 1


@dataclass(frozen=True)
class Token:
    """A token of the example, with (experts, weights) by model layer."""

    sequence: int
    position: int
    phase: int
    token_id: int
    rows: dict[int, tuple[list[int], list[float]]]


def example() -> list[Token]:
    """Return two sequences of 4 and 3 tokens, 2 and 1 of them prompt, with weights that float16 holds."""
    tokens = []
    for sequence, (length, prompt) in enumerate(((4, 2), (3, 1))):
        for position in range(length):
            seed = 7 * sequence + position
            rows = {
                layer: (
                    [(seed + layer) % N_EXPERTS, (3 * seed + layer + 1 + seed % 2) % N_EXPERTS],
                    [(32 - seed) / 64, (seed + 1) / 64],
                )
                for layer in LAYERS
            }
            rows = {
                layer: (ids if ids[0] != ids[1] else [ids[0], ids[0] ^ 1], w)
                for layer, (ids, w) in rows.items()
            }
            tokens.append(Token(sequence, position, int(position >= prompt), 100 + seed, rows))
    return tokens


TOKENS = example()
PHASES = {PREFILL: "prefill", DECODE: "decode"}


def experts_of(tokens: list[Token]) -> list[list[list[int]]]:
    """Return the experts as lists [T][L][k]."""
    return [[token.rows[layer][0] for layer in LAYERS] for token in tokens]


def weights_of(tokens: list[Token]) -> list[list[list[float]]]:
    """Return the weights as lists [T][L][k]."""
    return [[token.rows[layer][1] for layer in LAYERS] for token in tokens]


def slots(tokens: list[Token]) -> Iterator[tuple[Token, int, int, int, float]]:
    """Yield token, layer, slot, expert, weight of every chosen expert."""
    for token in tokens:
        for layer, (experts, weights) in token.rows.items():
            for slot, (expert, weight) in enumerate(zip(experts, weights, strict=True)):
                yield token, layer, slot, expert, weight


def bigmoe(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a route CSV."""
    text = [
        "# route_trace v1",
        f"# model=/m/tiny-Q4_K_M.gguf arch=x n_layer=5 n_expert={N_EXPERTS} n_expert_used={K}",
    ]
    text += [f"# layer={layer} expert_bytes={100 + layer} dense_bytes={200 + layer}" for layer in range(5)]
    text += ["turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped"]
    for t, layer, slot, expert, weight in slots(TOKENS):
        text += [f"{t.sequence},{t.phase},{t.position},{layer},{slot},{expert},{weight},{slot},{7 * slot},0"]
    return write(folder / "route.csv", "\n".join(text) + "\n"), ImportOptions()


def gpt_oss_json(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a folder of fingerprints, a sequence each."""
    into = folder / "fingerprints"
    into.mkdir()
    for sequence in (0, 1):
        data = [
            {
                f"token_{t.position}": {
                    f"layer_{layer}": {"selected_experts": experts, "selected_probs": weights}
                    for layer, (experts, weights) in t.rows.items()
                }
            }
            for t in TOKENS
            if t.sequence == sequence
        ]
        content = {
            "row_index": 7,
            "dataset": "mmlu",
            "category": "physics",
            "finished_successfully": True,
            "original_prompt": "p",
            "router_data": data,
        }
        write(into / f"run{sequence}.json", json.dumps(content, indent=2))
    return into, ImportOptions(model="tiny", n_experts=N_EXPERTS)


def gpt_oss_npz(folder: Path) -> tuple[Path, ImportOptions]:
    """Write the npz of decoded tokens."""
    np.savez_compressed(
        folder / "decode.npz",
        ids=np.array(experts_of(TOKENS), dtype=np.uint8),
        weights=np.array(weights_of(TOKENS), dtype=np.float16),
        seq=[t.sequence for t in TOKENS],
        pos=[t.position for t in TOKENS],
        dataset=["mmlu/0", "mmlu/1"],
    )
    return folder / "decode.npz", ImportOptions(model="tiny", n_experts=N_EXPERTS)


def esft(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a folder of a text a layer, a line a sequence."""
    into = folder / "esft"
    into.mkdir()
    for layer in LAYERS:
        text = ""
        for sequence in (0, 1):
            rows = [t.rows[layer] for t in TOKENS if t.sequence == sequence]
            text += "\t".join(str(expert) for experts, _ in rows for expert in experts) + "\t\t"
            text += "\t".join(str(weight) for _, weights in rows for weight in weights) + "\n"
        write(into / f"expert_weights_{layer}.txt", text)
    return into, ImportOptions(model="tiny", n_experts=N_EXPERTS, top_k=K, phase="split:2")


def qwen15(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a folder of routes, a sequence each."""
    into = folder / "routes"
    into.mkdir()
    for sequence in (0, 1):
        routes = [
            {
                "token_pos": t.position,
                "token_id": t.token_id,
                "phase": PHASES[t.phase],
                "layers": {str(layer): {"experts": e, "weights": w} for layer, (e, w) in t.rows.items()},
            }
            for t in TOKENS
            if t.sequence == sequence
        ]
        meta = {
            "model_id": "tiny",
            "num_layers": N_MODEL_LAYERS,
            "num_moe_layers": len(LAYERS),
            "num_experts": N_EXPERTS,
            "top_k": K,
            "backend": "mlx",
        }
        write(into / f"run_{sequence}.json", json.dumps({"meta": meta, "routes": routes}, indent=2))
    return into, ImportOptions()


def llama_cpp(folder: Path) -> tuple[Path, ImportOptions]:
    """Write the callback's CSV; of a prompt's last layer only the last token was computed."""
    text = [f"# moesim llama.cpp routing 1 model=Tiny MoE n_layer=5 n_expert={N_EXPERTS} n_expert_used={K}"]
    text += ["sequence,phase,pass,n_tokens,layer,n_rows,row,expert_0,expert_1"]
    for number, batch in enumerate(passes()):
        for layer in LAYERS:
            computed = batch if layer != LAYERS[-1] else batch[-1:]
            for row, t in enumerate(computed):
                experts = ",".join(map(str, t.rows[layer][0]))
                place = f"{t.sequence},{t.phase},{number},{len(batch)},{layer},{len(computed)},{row}"
                text += [f"{place},{experts}"]
    return write(folder / "routing.csv", "\n".join(text) + "\n"), ImportOptions()


def passes() -> list[list[Token]]:
    """Return the tokens of each pass: a prompt, then one at a time."""
    prompts = [[t for t in TOKENS if t.sequence == s and t.phase == PREFILL] for s in (0, 1)]
    decoded = [[[t] for t in TOKENS if t.sequence == s and t.phase == DECODE] for s in (0, 1)]
    return [prompts[0], *decoded[0], prompts[1], *decoded[1]]


def flame_moe(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a checkpoint's folder and the samples beside it; layers are counted from 1."""
    into = folder / "flame-moe-290m" / "actives" / "iter_540"
    samples = folder / "flame-moe-290m" / "samples"
    into.mkdir(parents=True)
    samples.mkdir()
    for layer in LAYERS:
        rows = [t.rows[layer] for t in TOKENS]
        columns = {
            "scores": pa.array([weights for _, weights in rows], pa.list_(pa.float16(), K)),
            "indices": pa.array([experts for experts, _ in rows], pa.list_(pa.int16(), K)),
        }
        pq.write_table(pa.table(columns), into / f"layer_{layer + 1:02}.parquet")
    ids = [t.token_id for t in TOKENS] + [0]  # the samples go on
    for number, part in enumerate((ids[:5], ids[5:])):
        pq.write_table(pa.table({"token_id": pa.array(part, pa.int32())}), samples / f"{number:03}.parquet")
    return into, ImportOptions(n_experts=N_EXPERTS)


def policylang(folder: Path) -> tuple[Path, ImportOptions]:
    """Write the recorder's Parquet: pass after pass, layer after layer."""
    rows = [
        {
            "prompt_id": t.sequence,
            "token_idx": t.position,
            "layer_idx": layer,
            "selected_experts": t.rows[layer][0],
            "router_scores": t.rows[layer][1],
            "token_id": t.token_id,
            "phase": PHASES[t.phase],
            "domain_tag": "chat",
        }
        for batch in passes()
        for layer in LAYERS
        for t in batch
    ]
    types = {
        "selected_experts": pa.list_(pa.int32()),
        "router_scores": pa.list_(pa.float32()),
        "phase": pa.string(),
        "domain_tag": pa.string(),
    }
    columns = {name: pa.array([row[name] for row in rows], types.get(name, pa.int32())) for name in rows[0]}
    pq.write_table(pa.table(columns), folder / "trace.parquet", compression="zstd")
    return folder / "trace.parquet", ImportOptions(model="tiny", n_experts=N_EXPERTS)


def npz(folder: Path) -> tuple[Path, ImportOptions]:
    """Write an npz with axes layer, token, k and names of its own."""
    np.savez(
        folder / "any.npz",
        ids=np.array(experts_of(TOKENS)).transpose(1, 0, 2),
        weights=np.array(weights_of(TOKENS)).transpose(1, 0, 2),
        sequence=[t.sequence for t in TOKENS],
        position=[t.position for t in TOKENS],
        phase=[t.phase for t in TOKENS],
        token_id=[t.token_id for t in TOKENS],
    )
    options = ImportOptions(
        axes=("layer", "token", "k"), key={"experts": "ids"}, n_experts=N_EXPERTS, moe_layers=LAYERS
    )
    return folder / "any.npz", options


def npy(folder: Path) -> tuple[Path, ImportOptions]:
    """Write the experts alone, in the byte order of another machine and the order of Fortran."""
    array = np.asfortranarray(np.array(experts_of(TOKENS), dtype=">i4"))
    np.save(folder / "any.npy", array)
    axes = ("token", "layer", "k")
    return folder / "any.npy", ImportOptions(
        axes=axes, n_experts=N_EXPERTS, phase="decode", moe_layers=LAYERS
    )


def long_csv(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a line for each expert, with all columns."""
    with (folder / "any.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["seq", "position", "phase", "token_id", "layer", "slot", "expert", "weight", "text"])
        for t, layer, slot, expert, weight in slots(TOKENS):
            row = [t.sequence, t.position, PHASES[t.phase], t.token_id, layer, slot, expert, weight, "a, b"]
            out.writerow(row)
    return folder / "any.csv", ImportOptions(key={"sequence": "seq"}, n_experts=N_EXPERTS)


def csv_by_layer(folder: Path) -> tuple[Path, ImportOptions]:
    """Write the columns that must be there, layer after layer, experts in their order."""
    lines = sorted(slots(TOKENS[:4]), key=lambda line: (line[1], line[0].position, line[2]))
    text = "\n".join(["expert,layer,position", *(f"{e},{layer},{t.position}" for t, layer, _, e, _ in lines)])
    return write(folder / "layers.csv", text + "\n"), ImportOptions(n_experts=N_EXPERTS, phase="split:2")


def jsonl(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a token a line, rows by the number of their layer."""
    text = ""
    for t in TOKENS:
        line = {
            "sequence": t.sequence,
            "position": t.position,
            "phase": PHASES[t.phase],
            "token_id": t.token_id,
            "experts": {str(layer): experts for layer, (experts, _) in t.rows.items()},
            "weights": {str(layer): weights for layer, (_, weights) in t.rows.items()},
        }
        text += json.dumps(line) + "\n"
    return write(folder / "any.jsonl", text), ImportOptions(n_experts=N_EXPERTS)


def jsonl_of_lists(folder: Path) -> tuple[Path, ImportOptions]:
    """Write nothing but experts, as lists."""
    text = "".join(json.dumps({"experts": rows}) + "\n" for rows in experts_of(TOKENS[:4]))
    return write(folder / "lists.jsonl", text), ImportOptions(
        n_experts=N_EXPERTS, phase="split:2", moe_layers=LAYERS
    )


def records(folder: Path) -> tuple[Path, ImportOptions]:
    """Write an object for each token and layer below a line about the run, as loggers of engines do."""
    lines: list[dict[str, Any]] = [
        {"type": "meta", "model_id": "org/tiny", "num_experts": N_EXPERTS, "top_k": K}
    ]
    for t in TOKENS:
        for layer, (experts, weights) in t.rows.items():
            lines.append(
                {
                    "type": "route",
                    "req_id": f"r{t.sequence}",
                    "token_idx": t.position,
                    "token_id": t.token_id,
                    "phase": {PREFILL: "prompt", DECODE: "generation"}[t.phase],
                    "layer": f"model.layers.{layer}.mlp",
                    "topk_ids": experts,
                    "topk_weights": weights,
                }
            )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return write(folder / "routes.jsonl", text), ImportOptions()


def records_table(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a table with lists in cells, layer after layer, as pandas writes one."""
    rows = [(layer, t, *row) for t in TOKENS for layer, row in t.rows.items()]
    rows.sort(key=lambda row: row[0])
    with (folder / "frame.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["", "Layer ID", "sample", "pos", "stage", "tok_id", "Selected Experts", "Router Probs"])
        for number, (layer, t, experts, weights) in enumerate(rows):
            ids = "[" + "  ".join(map(str, experts)) + "]"
            out.writerow([number, layer, t.sequence, t.position, PHASES[t.phase], t.token_id, ids, weights])
    return folder / "frame.csv", ImportOptions(n_experts=N_EXPERTS)


def records_nested(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a token a line, the layers in it by the names of their modules."""
    rows = [
        {
            "req_id": t.sequence,
            "token_idx": t.position,
            "token_id": t.token_id,
            "phase": PHASES[t.phase],
            "layers": {
                f"blk.{layer}.ffn": {"topk_ids": experts, "topk_weights": weights}
                for layer, (experts, weights) in t.rows.items()
            },
        }
        for t in TOKENS
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    return write(folder / "nested.jsonl", text), ImportOptions(n_experts=N_EXPERTS)


def records_of_passes(folder: Path) -> tuple[Path, ImportOptions]:
    """Write a record for each sequence and layer, with lists of all its tokens."""
    records = []
    for sequence in sorted({t.sequence for t in TOKENS}):
        mine = [t for t in TOKENS if t.sequence == sequence]
        for layer in sorted({layer for t in mine for layer in t.rows}):
            there = [t for t in mine if layer in t.rows]
            records.append(
                {
                    "seq": sequence,
                    "layer": layer,
                    "positions": [t.position for t in there],
                    "token_id": [t.token_id for t in there],
                    "phase": [PHASES[t.phase] for t in there],
                    "topk_ids": [t.rows[layer][0] for t in there],
                    "topk_weights": [t.rows[layer][1] for t in there],
                }
            )
    return write(folder / "passes.json", json.dumps(records)), ImportOptions(n_experts=N_EXPERTS)


def records_parquet(folder: Path) -> tuple[Path, ImportOptions]:
    """Write columns of lists, with names that nobody knows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(t, layer, *row) for t in TOKENS for layer, row in t.rows.items()]
    table = pa.table(
        {
            "seq": [t.sequence for t, *_ in rows],
            "at": [t.position for t, *_ in rows],
            "phase": [PHASES[t.phase] for t, *_ in rows],
            "tok_id": [t.token_id for t, *_ in rows],
            "layer": [layer for _, layer, *_ in rows],
            "mine": [experts for *_, experts, _ in rows],
            "weights": [weights for *_, weights in rows],
        }
    )
    pq.write_table(table, folder / "mine.parquet")
    column = {"position": "at", "experts": "mine"}
    return folder / "mine.parquet", ImportOptions(n_experts=N_EXPERTS, column=column)


def write(path: Path, text: str) -> Path:
    """Write a text and return where."""
    path.write_text(text, encoding="utf-8")
    return path


FILES: dict[str, Callable[[Path], tuple[Path, ImportOptions]]] = {
    "bigmoe": bigmoe,
    "gpt-oss-json": gpt_oss_json,
    "gpt-oss-npz": gpt_oss_npz,
    "esft": esft,
    "qwen1.5-json": qwen15,
    "llama-cpp": llama_cpp,
    "flame-moe": flame_moe,
    "moe-policylang": policylang,
    "npz": npz,
    "npz:npy": npy,
    "csv": long_csv,
    "csv:by-layer": csv_by_layer,
    "jsonl": jsonl,
    "jsonl:lists": jsonl_of_lists,
    "records": records,
    "records:table": records_table,
    "records:parquet": records_parquet,
    "records:nested": records_nested,
    "records:passes": records_of_passes,
}
