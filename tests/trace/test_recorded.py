"""The traces that others recorded import, survive a round trip, and have the statistics of their README.

The oracle here reads the raw files with plain Python and shares no code with the importers.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from simulator.trace.core import DECODE, Trace
from simulator.trace.importers.registry import import_trace
from simulator.trace.info import lag1_reuse, summary, top_share
from simulator.trace.parquet import read_trace, write_trace
from tests.trace.examples import RECORDED, assert_same, needs_recorded

pytestmark = needs_recorded

Rows = dict[tuple[int, int, int], list[int]]  # (sequence, position, model layer) -> experts

QWEN15 = ("cooking_1", "history_1", "ml_moe_1", "ml_moe_2")
ESFT = "deepseek-v2-lite-esft/"

SOURCES = {
    "bigmoe/qwen.route.csv": "bigmoe",
    "bigmoe/gptoss.route.csv": "bigmoe",
    "gpt-oss-20b/decode-80seq.npz": "gpt-oss-npz",
    "gpt-oss-20b/raw-mmlu-physics.json": "gpt-oss-json",
    ESFT + "summary": "esft",
    ESFT + "translation": "esft",
    **{f"qwen1.5-moe/{name}.json": "qwen1.5-json" for name in QWEN15},
}
# name: layers, experts, k, prefill tokens, decode tokens, lag-1 reuse, top share (both from the README)
EXPECTED = {
    "bigmoe/qwen.route.csv": (48, 128, 6, 28, 128, 0.380, 0.580),
    "bigmoe/gptoss.route.csv": (36, 128, 2, 85, 64, 0.179, 0.736),
    "gpt-oss-20b/decode-80seq.npz": (24, 32, 4, 0, 32836, 0.434, 0.287),
    ESFT + "summary": (26, 64, 6, 8479, 0, 0.291, 0.282),
    ESFT + "translation": (26, 64, 6, 5710, 0, 0.267, 0.418),
    "qwen1.5-moe/cooking_1.json": (24, 60, 4, 57, 128, 0.188, 0.308),
    "qwen1.5-moe/history_1.json": (24, 60, 4, 55, 128, 0.165, 0.238),
    "qwen1.5-moe/ml_moe_1.json": (24, 60, 4, 53, 128, 0.164, 0.224),
    "qwen1.5-moe/ml_moe_2.json": (24, 60, 4, 55, 128, 0.153, 0.230),
}


def raw_rows(name: str, *, decode_only: bool) -> Rows:
    """Return the rows of a raw file, read by plain Python."""
    path, rows = RECORDED / name, {}
    if path.suffix == ".csv":
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        for line in csv.DictReader(lines):
            if line["phase"] == "1" or not decode_only:
                key = (int(line["turn"]), int(line["step"]), int(line["layer"]))
                rows.setdefault(key, []).append(int(line["expert"]))
    elif path.is_dir():
        for file in path.iterdir():
            layer = int(file.stem.rsplit("_", 1)[1])
            for sequence, line in enumerate(file.read_text().splitlines()):
                ids = [int(word) for word in line.split("\t\t")[0].split("\t")]
                for start in range(0, len(ids), 6):
                    rows[sequence, start // 6, layer] = ids[start : start + 6]
    elif path.suffix == ".npz":
        with np.load(path) as file:
            ids, sequences, positions = (file[key].tolist() for key in ("ids", "seq", "pos"))
        for token, sequence, position in zip(ids, sequences, positions, strict=True):
            for layer, row in enumerate(token):
                rows[sequence, position, layer] = row
    elif "routes" in (content := json.loads(path.read_text())):
        for route in content["routes"]:
            if route["phase"] == "decode" or not decode_only:
                for layer, row in route["layers"].items():
                    rows[0, route["token_pos"], int(layer)] = row["experts"]
    else:
        for entry in content["router_data"]:
            for token, layers in entry.items():
                for layer, row in layers.items():
                    rows[0, int(token[6:]), int(layer[6:])] = row["selected_experts"]
    return rows


def oracle(rows: Rows, n_experts: int) -> tuple[float, float]:
    """Return lag-1 reuse and top share of plain rows, as the README defines them."""
    reuse = [
        len(set(ids).intersection(rows[sequence, position + 1, layer])) / len(ids)
        for (sequence, position, layer), ids in rows.items()
        if (sequence, position + 1, layer) in rows
    ]
    uses: dict[int, Counter[int]] = {}
    for (_, _, layer), ids in rows.items():
        uses.setdefault(layer, Counter()).update(ids)
    top = math.ceil(0.1 * n_experts)
    shares = [sum(n for _, n in count.most_common(top)) / count.total() for count in uses.values()]
    return math.fsum(reuse) / len(reuse), math.fsum(shares) / len(shares)


def load(name: str) -> Trace:
    """Import a recorded trace."""
    return import_trace(RECORDED / name, SOURCES[name])


def rows_of(trace: Trace) -> Rows:
    """Return an imported trace as plain rows."""
    tokens: Iterable[tuple[int, int, list[list[int]]]] = zip(
        trace.sequence.tolist(), trace.position.tolist(), trace.experts.tolist(), strict=True
    )
    layers = trace.header.moe_layers
    return {
        (sequence, position, layers[index]): row
        for sequence, position, token in tokens
        for index, row in enumerate(token)
        if row[0] != -1
    }


@pytest.mark.parametrize("name", SOURCES)
def test_every_row_is_imported_and_survives_parquet(name: str, tmp_path: Path) -> None:
    trace = load(name)
    assert rows_of(trace) == raw_rows(name, decode_only=False)
    write_trace(trace, tmp_path / "t.parquet")
    assert_same(trace, read_trace(tmp_path / "t.parquet"))


@pytest.mark.parametrize("name", EXPECTED)
def test_statistics_of_the_readme(name: str) -> None:
    layers, experts, k, prefill, decode, reuse, share = EXPECTED[name]
    trace, phase = load(name), "decode" if decode else "prefill"
    facts = summary(trace)
    assert (facts["layers"], facts["experts"], facts["top_k"]) == (layers, experts, k)
    assert (facts["prefill_tokens"], facts["decode_tokens"]) == (prefill, decode)
    assert facts["lag1_reuse"][phase] == pytest.approx(reuse, abs=0.002)
    assert facts["top_share"][phase] == pytest.approx(share, abs=0.002)
    measured = oracle(raw_rows(name, decode_only=bool(decode)), experts)
    assert (facts["lag1_reuse"][phase], facts["top_share"][phase]) == pytest.approx(measured, abs=1e-12)


def test_statistics_of_both_esft_tasks() -> None:
    one, two = (load(ESFT + task) for task in ("summary", "translation"))
    both = Trace(
        header=one.header,
        sequence=np.concatenate([one.sequence, two.sequence + 1000]),
        position=np.concatenate([one.position, two.position]),
        phase=np.concatenate([one.phase, two.phase]),
        experts=np.concatenate([one.experts, two.experts]),
    )
    everything = np.ones(both.n_tokens, dtype=bool)
    assert lag1_reuse(both, everything) == pytest.approx(0.281, abs=0.002)
    assert top_share(both, everything) == pytest.approx(0.277, abs=0.002)


@pytest.mark.parametrize(
    ("name", "kind", "low", "high"),
    [
        ("bigmoe/qwen.route.csv", "renormalised", 0.999, 1.001),
        ("bigmoe/gptoss.route.csv", "renormalised", 0.999, 1.001),
        ("gpt-oss-20b/decode-80seq.npz", "renormalised", 0.99, 1.01),
        ("gpt-oss-20b/raw-mmlu-physics.json", "renormalised", 0.99, 1.01),
        (ESFT + "summary", "softmax", 0.33, 0.38),
        ("qwen1.5-moe/cooking_1.json", "softmax", 0.29, 0.32),
    ],
)
def test_weights_are_named_for_what_they_are(name: str, kind: str, low: float, high: float) -> None:
    trace = load(name)
    assert trace.header.weights == kind
    assert trace.weights is not None
    sums = trace.weights.astype(float).sum(axis=2)[trace.experts[:, :, 0] != -1]
    assert low < sums.mean() < high


def test_bigmoe_keeps_what_the_device_did() -> None:
    trace = load("bigmoe/qwen.route.csv")
    lines = (RECORDED / "bigmoe/qwen.route.csv").read_text().splitlines()
    raw = [line.split(",") for line in lines if not line.startswith(("#", "turn"))]
    assert trace.header.model == "Qwen3-30B-A3B"
    assert trace.header.precision == "Q4_K_M"
    assert trace.header.expert_bytes is not None
    assert trace.header.expert_bytes[5:7] == (3059712, 2654208)
    assert trace.header.dense_bytes is not None
    assert trace.header.dense_bytes[5:7] == (11953152, 11682816)
    assert trace.recorded_resident is not None
    assert trace.recorded_bytes is not None
    assert trace.weights is not None
    for _, phase, step, layer, slot, expert, weight, residency, count in raw:
        place = (int(step), int(layer), int(slot))
        assert trace.phase[place[0]] == int(phase)
        assert trace.experts[place] == int(expert)
        assert trace.weights[place] == np.float32(weight)
        assert trace.recorded_resident[place] == int(residency)
        assert trace.recorded_bytes[place] == int(count)
    assert (trace.recorded_resident == -1).sum() == 27 * 6  # the last layer of all but one prompt token
    assert trace.recorded_bytes.sum() == sum(int(row[-1]) for row in raw)


def test_weights_and_tokens_are_exact() -> None:
    trace = load("gpt-oss-20b/decode-80seq.npz")
    with np.load(RECORDED / "gpt-oss-20b/decode-80seq.npz") as file:
        assert trace.weights is not None
        assert trace.weights.dtype == file["weights"].dtype == np.float16
        np.testing.assert_array_equal(trace.weights, file["weights"])
    content = json.loads((RECORDED / "qwen1.5-moe/cooking_1.json").read_text())
    trace = load("qwen1.5-moe/cooking_1.json")
    raw = [list(route["layers"].values()) for route in content["routes"]]
    assert trace.weights is not None
    assert trace.weights.tolist() == [[row["weights"] for row in token] for token in raw]
    assert trace.token_id is not None
    assert trace.token_id.tolist() == [route["token_id"] for route in content["routes"]]


def test_a_folder_of_runs_is_a_sequence_each() -> None:
    trace = import_trace(RECORDED / "qwen1.5-moe", "qwen1.5-json")
    assert np.unique(trace.sequence).tolist() == [0, 1, 2, 3]
    assert [int((trace.phase[trace.sequence == s] == DECODE).sum()) for s in range(4)] == [128] * 4


def test_gpt_oss_fits_its_size(tmp_path: Path) -> None:
    trace = load("gpt-oss-20b/decode-80seq.npz")
    write_trace(trace, tmp_path / "with")
    bare = Trace(
        header=trace.header.model_copy(update={"weights": "none"}),
        sequence=trace.sequence,
        position=trace.position,
        phase=trace.phase,
        experts=trace.experts,
    )
    write_trace(bare, tmp_path / "without")
    assert (tmp_path / "with").stat().st_size < 6_000_000
    assert (tmp_path / "without").stat().st_size < 2_200_000
