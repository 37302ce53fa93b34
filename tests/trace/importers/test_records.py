"""Records of one token in one layer, in the dresses that loggers give them; and those that are wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace, sniff
from tests.command_line import moesim
from tests.places import SHARED

FOUR = ImportOptions(n_experts=4, phase="decode")
FAILING = SHARED / "failing"
needs_failing = pytest.mark.skipif(not FAILING.is_dir(), reason="needs ../shared/failing")


def load(folder: Path, text: str, name: str = "r.csv", options: ImportOptions = FOUR) -> Trace:
    (folder / name).write_text(text)
    return import_trace(folder / name, "records", options)


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def of(trace: Trace) -> tuple[list[int], list[int], list[Any]]:
    return trace.sequence.tolist(), trace.position.tolist(), trace.experts.tolist()


@pytest.mark.parametrize(
    "cell",
    ['"[3, 1]"', '"[3 1]"', '"[ 3.  1.]"', '"(3, 1)"', "3;1", "3|1", '"tensor([3, 1])"', "\"['3', '1']\"",
     '"[[3, 1]]"', "\"tensor([3, 1], device='cuda:0')\"", '"array([3, 1], dtype=int32)"'],
)  # fmt: skip
def test_a_list_in_any_dress(tmp_path: Path, cell: str) -> None:
    trace = load(tmp_path, f"layer,pos,topk_ids\n0,0,{cell}\n1,0,{cell}\n")
    assert of(trace) == ([0], [0], [[[3, 1], [3, 1]]])


@pytest.mark.parametrize(
    "cell",
    [
        {"3": 0.7, "1": 0.3},
        [[3, 0.7], [1, 0.3]],
        [{"expert": 3, "weight": 0.7}, {"expert": 1, "weight": 0.3}],
    ],
)
def test_ids_and_weights_in_one_cell(tmp_path: Path, cell: Any) -> None:
    trace = load(tmp_path, lines({"layer": 0, "pos": 0, "experts": cell}), "r.jsonl")
    assert trace.experts.tolist() == [[[3, 1]]]
    assert trace.weights is not None
    assert trace.weights[0, 0].tolist() == pytest.approx([0.7, 0.3], abs=1e-3)
    assert trace.header.weights == "renormalised"


@pytest.mark.parametrize(
    "name", ["model.layers.3.mlp.gate", "layer_3", "blk.3.ffn", "L3", "3", "3.0", "Block 3"]
)
def test_a_layer_may_be_a_name(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, f"layer_name,pos,topk_ids\n{name},0,3;1\n").header.moe_layers == (3,)


def test_numbered_columns_are_chosen_experts_or_all_of_a_layer(tmp_path: Path) -> None:
    chosen = load(tmp_path, "layer,pos,expert_0,expert_1,weight_0,weight_1\n0,0,3,1,0.6,0.4\n")
    wide = load(
        tmp_path,
        "layer,pos,expert_0,expert_1,expert_2,expert_3\n0,0,0,0.4,0,0.6\n",
        options=ImportOptions(phase="decode"),
    )
    assert chosen.experts.tolist() == wide.experts.tolist() == [[[3, 1]]]
    assert wide.header.n_experts == 4
    flags = load(
        tmp_path, "layer,pos,e0,e1,e2,e3\n0,0,0,1,0,1\n", options=ImportOptions(phase="decode", n_experts=4)
    )
    assert (flags.experts.tolist(), flags.weights) == ([[[1, 3]]], None)


def test_a_row_for_each_expert(tmp_path: Path) -> None:
    trace = load(tmp_path, "layer,pos,rank,expert_id,prob\n0,0,0,3,.6\n0,0,1,1,.4\n0,1,0,2,.9\n0,1,1,0,.1\n")
    assert trace.experts.tolist() == [[[3, 1]], [[2, 0]]]


def test_positions_that_restart_are_passes_of_a_sequence(tmp_path: Path) -> None:
    """A prompt of two tokens, then decode steps of one: the first pass is the prompt."""
    made = [
        {"req_id": "a", "layer": layer, "token_idx": i, "topk_ids": [3, layer]}
        for step in ((0, 1), (0,), (0,))
        for layer in (0, 1)
        for i in step
    ]
    trace = load(tmp_path, lines(*made), "r.jsonl", ImportOptions(n_experts=4))
    assert of(trace)[:2] == ([0, 0, 0, 0], [0, 1, 2, 3])
    assert trace.phase.tolist() == [0, 0, 1, 1]
    assert trace.header.phase_source == "told by the sizes of passes"


def test_passes_that_hold_several_requests_tell_no_phase(tmp_path: Path) -> None:
    made = [{"layer": 0, "token_idx": i, "topk_ids": [3, 1]} for step in ((0, 1), (0,), (0, 1)) for i in step]
    text = lines(*({"req_id": "a"} | record for record in made))
    with pytest.raises(InputError, match="--phase: missing, and the file has no phases"):
        load(tmp_path, text, "r.jsonl", ImportOptions(n_experts=4))
    assert load(tmp_path, text, "r.jsonl").phase.tolist() == [1] * 5


def test_order_alone_tells_tokens_where_every_layer_has_all(tmp_path: Path) -> None:
    layer_major = "layer,topk_ids\n0,3;1\n0,2;0\n1,1;0\n1,3;2\n"
    interleaved = "layer,topk_ids\n0,3;1\n1,1;0\n0,2;0\n1,3;2\n"
    want = ([0, 0], [0, 1], [[[3, 1], [1, 0]], [[2, 0], [3, 2]]])
    assert of(load(tmp_path, layer_major)) == of(load(tmp_path, interleaved)) == want
    with pytest.raises(InputError, match="layer 1 lacks 1 of 2 tokens, and nothing says which"):
        load(tmp_path, "layer,topk_ids\n0,3;1\n0,2;0\n1,1;0\n")


def test_missing_rows_are_missing_where_positions_tell(tmp_path: Path) -> None:
    trace = load(tmp_path, "layer,position,topk_ids\n0,0,3;1\n0,1,2;0\n1,1,3;2\n")
    assert trace.experts.tolist() == [[[3, 1], [-1, -1]], [[2, 0], [3, 2]]]


def test_a_file_for_each_layer(tmp_path: Path) -> None:
    for layer in (0, 1, 10):
        (tmp_path / f"layer_{layer}.csv").write_text(f"layer_id,position,topk_ids\n0,0,3;{layer % 3}\n")
    (tmp_path / "README.txt").write_text("what this is\n")
    trace = import_trace(tmp_path, "records", FOUR)
    assert trace.header.moe_layers == (0, 1, 10)
    assert trace.experts.tolist() == [[[3, 0], [3, 1], [3, 1]]]
    assert "README.txt" in trace.header.notes


def test_a_file_for_each_request(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(lines({"layer": 0, "position": 0, "experts": [3, 1]}))
    assert import_trace(tmp_path, "records", FOUR).sequence.tolist() == [0, 1]


def test_what_editors_and_programs_add(tmp_path: Path) -> None:
    text = "\ufeffLayer; Pos; Top-K IDs;\r\n0;0;[3, 1];\r\n\r\n1;0;[2, 0];\r\n"
    assert of(load(tmp_path, text))[2] == [[[3, 1], [2, 0]]]
    packed = gzip.compress(lines({"layer": 0, "pos": 0, "experts": [3, 1]}).encode())
    (tmp_path / "r.jsonl.gz").write_bytes(packed)
    assert import_trace(tmp_path / "r.jsonl.gz", None, FOUR).n_tokens == 1
    whole = {
        "model": "x",
        "num_experts": 4,
        "records": [{"layer": 0, "pos": 0, "experts": [3, 1], "phase": "decode"}],
    }
    trace = load(tmp_path, json.dumps(whole), "r.json", ImportOptions())
    assert (trace.header.n_experts, trace.header.model) == (4, "x")
    cut = lines({"layer": 0, "pos": 0, "experts": [3, 1]}) + '{"layer": 0, "pos": 1, "exp'
    with pytest.raises(InputError, match=r"line 2: not JSON .* it may be truncated"):
        load(tmp_path, cut, "r.jsonl")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("./models/some-local-dir", "some-local-dir"),
        ("/data/models--Qwen--Qwen3-30B-A3B/snapshots/ab12", "Qwen3-30B-A3B"),
        ("C:\\models\\mine.gguf", "mine"),
        ("org/My-MoE", "My-MoE"),
    ],
)
def test_a_model_is_a_name_and_never_a_path(tmp_path: Path, said: str, name: str) -> None:
    text = lines({"type": "meta", "model_id": said}, {"layer": 0, "pos": 0, "experts": [3, 1]})
    assert load(tmp_path, text, "r.jsonl").header.model == name


def test_a_known_model_gives_its_sizes_and_its_name(tmp_path: Path) -> None:
    rows = [{"layer": layer, "pos": 0, "experts": [*range(8)]} for layer in range(16)]
    text = lines({"type": "meta", "model_id": "allenai/OLMoE-1B-7B-0125-Instruct"}, *rows)
    header = load(tmp_path, text, "r.jsonl", ImportOptions(phase="decode")).header
    assert (header.model, header.n_experts) == ("olmoe-1b-7b", 64)


REFUSED = {
    "layer,pos,topk_ids\n0,0,0;0\n0,1,0;0\n": "the engine has captured nothing; a fused kernel",
    "layer,pos,topk_ids\n0,0,3;1\n1,0,0;0\n0,1,2;1\n1,1,0;0\n": "only layer 0 of 2 has routing",
    "layer,pos,topk_ids\n0,0,0;0\n0,1,0;0\n0,2,3;1\n": "the first 2 tokens are 0 in every layer: the prompt",
    "layer,pos,topk_ids\n0,0,3;1\n0,1,0;0\n0,2,3;1\n": "1 of 3 tokens have rows of zeros",
    "layer,expert,count\n0,3,17\n": "counts of experts, without tokens: nothing to replay",
    "layer,pos,topk_ids\n0,0,3;1\n0,1,4;1\n": "holds expert 4; allowed: 0..3; physical ids of replicated",
    "layer,pos,topk_ids\n0,0,3;3\n": "has an expert twice",
    "layer,pos,topk_ids\n0,0,3;1\n0,1,3;1;0\n": "2 experts, 2 weights; 3",
    "layer,pos,topk_ids\n0,0,3;x\n": "line 2: 'x' is no number",
    "layer,pos,topk_ids,experts\n0,0,3;1,2;1\n": "'topk_ids' or 'experts'; say which with --column",
    "pos,topk_ids\n0,3;1\n": "no column is known as layer; say which of 'pos'",
    "layer,pos,mine\n0,0,3;1\n": "no column is known as experts; say which of 'mine'",
    "layer,pos,topk_ids\n0,0,3,1\n": "4 cells; 3, as the header has; lists in quotes",
    "layer,pos,topk_ids,phase\n0,0,3;1,thinking\n": "no phase: prefill, prompt, decode",
    "layer,pos,topk_ids\n": "no records",
    "layer,pos,topk_ids\na.b,0,3;1\n": "no number of a layer",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_is_wrong_with_a_recording_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as error:
        load(tmp_path, text)
    said = str(error.value)
    if REFUSED[text].startswith("no column"):
        assert all(part in said for part in REFUSED[text].replace("say which of 'pos'", "").split("; "))
    else:
        assert REFUSED[text] in said
    assert "\n" not in said


def test_the_files_of_two_ranks_are_not_two_requests(tmp_path: Path) -> None:
    for rank in (0, 1):
        (tmp_path / f"rank{rank}.jsonl").write_text(
            lines(*({"request_id": "a", "layer": 0, "position": p, "experts": [3, p]} for p in (0, 1)))
        )
    with pytest.raises(InputError, match=r"the files rank0\.jsonl and rank1\.jsonl hold the same records"):
        import_trace(tmp_path, "records", FOUR)


def test_a_layer_beyond_the_models_is_told(tmp_path: Path) -> None:
    rows = [{"layer": layer, "pos": 0, "experts": [*range(8)]} for layer in range(17)]
    text = lines({"type": "meta", "model_id": "OLMoE-1B-7B"}, *rows)
    options = ImportOptions(phase="decode")
    with pytest.raises(
        InputError, match=r"layer 16 is beyond the 16 layers of olmoe-1b-7b.*--moe-layers 0-15"
    ):
        load(tmp_path, text, "r.jsonl", options)
    kept = load(tmp_path, text, "r.jsonl", ImportOptions(phase="decode", moe_layers=tuple(range(16))))
    assert kept.header.n_layers == 16


def test_zero_rows_may_be_tokens_that_were_not_recorded(tmp_path: Path) -> None:
    text = "layer,pos,topk_ids\n0,0,0;0\n0,1,3;1\n"
    trace = load(tmp_path, text, options=ImportOptions(n_experts=4, phase="decode", zero_rows="missing"))
    assert trace.experts.tolist() == [[[-1, -1]], [[3, 1]]]
    with pytest.raises(InputError, match="--zero-rows: 'mising'; did you mean 'missing'"):
        load(tmp_path, text, options=ImportOptions(n_experts=4, phase="decode", zero_rows="mising"))


def test_columns_are_explained(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("Layer ID,who,Router TopK\n0,0,[3 1]\n")
    done = moesim(tmp_path, "trace", "import", "r.csv", "--explain")
    assert done.returncode == 0, done.stderr
    said = {
        line.split("│")[1].strip(): line.split("│")[2].strip()
        for line in done.stdout.splitlines()
        if line.startswith("│")
    }
    assert said == {"Layer ID": "layer", "who": "not used", "Router TopK": "experts"}
    assert "--column experts=NAME" in done.stdout


@needs_failing
@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("vllm-moe-logger.jsonl", ImportOptions(n_experts=8), (3, 1, 2)),
        ("layer-major.jsonl", ImportOptions(n_experts=4, phase="prefill"), (2, 2, 2)),
        ("moe-cache-lab.jsonl", ImportOptions(), (1, 2, 2)),
        ("expert-list-column.csv", ImportOptions(n_experts=4, phase="prefill"), (2, 2, 2)),
        ("wide-onehot.csv", ImportOptions(phase="prefill"), (2, 1, 2)),
        ("bf16-renormalised-routes.json", ImportOptions(), (2, 1, 2)),
        ("promptzero.jsonl", ImportOptions(model="Qwen/Qwen3-30B-A3B", zero_rows="missing"), (10, 48, 8)),
    ],
)
def test_files_that_failed_are_recognised_and_read(
    name: str, options: ImportOptions, shape: tuple[int, ...]
) -> None:
    trace = import_trace(FAILING / name, None, options)
    assert trace.experts.shape == shape
    assert trace.header.weights in ("renormalised", "softmax", "none")
    assert "/" not in trace.header.model
    if name == "bf16-renormalised-routes.json":
        assert (trace.header.weights, trace.header.model) == ("renormalised", "some-local-dir")


@needs_failing
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("allzero.jsonl", "the engine has captured nothing"),
        ("promptzero.jsonl", "--zero-rows missing"),
        ("onlylayer0.jsonl", "only layer 0 of 48 has routing"),
        ("dropped.jsonl", "7 rows for 10 routed tokens: 3 are lacking"),
        ("counts-per-rank.csv", "counts of experts, without tokens"),
    ],
)
def test_wrong_recordings_are_told(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        import_trace(
            FAILING / name, None, ImportOptions(model="qwen3-30b-a3b") if name.endswith("l") else None
        )


def test_a_record_is_recognised_by_its_layer_and_experts(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(lines({"type": "meta"}, {"layer": 0, "topk_ids": [1, 2]}))
    assert sniff(tmp_path / "r.jsonl") == "records"
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no format is recognised"):
        sniff(tmp_path / "other.csv")


WANT = ([0, 0], [0, 1], [[[3, 1], [2, 0]], [[1, 0], [3, 2]]])
OF_LAYER = {0: [[3, 1], [1, 0]], 1: [[2, 0], [3, 2]]}


@pytest.mark.parametrize(
    "made",
    [
        [{"token_idx": t, "layers": {str(n): {"topk_ids": OF_LAYER[n][t]} for n in (0, 1)}} for t in (0, 1)],
        [{"pos": t, "layers": [{"layer": n, "experts": OF_LAYER[n][t]} for n in (0, 1)]} for t in (0, 1)],
        [{"pos": t, "layers": {f"blk.{n}.ffn": OF_LAYER[n][t] for n in (0, 1)}} for t in (0, 1)],
        [{"step": 0, "layer": n, "topk_ids": OF_LAYER[n], "positions": [0, 1]} for n in (0, 1)],
        [{"layer": n, "experts": [OF_LAYER[n]]} for n in (0, 1)],
        [{"module": f"model.layers.{n}.mlp", "experts": str(OF_LAYER[n]).replace(",", "")} for n in (0, 1)],
        [{"token": t, "block": n, "experts": OF_LAYER[n][t]} for t in (0, 1) for n in (0, 1)],
    ],
    ids=range(7),
)
def test_a_record_may_hold_all_layers_or_all_tokens(tmp_path: Path, made: list[dict[str, Any]]) -> None:
    """Lists of whole numbers are [tokens, k], never an id with a weight of 0 or 1."""
    path = tmp_path / "r.jsonl"
    path.write_text(lines(*made))
    trace = import_trace(path, None, FOUR)
    assert (of(trace), trace.weights) == (WANT, None)


def test_weights_of_all_tokens_of_a_pass(tmp_path: Path) -> None:
    record = {"layer": 0, "topk_ids": OF_LAYER[0], "topk_weights": [[0.7, 0.3], [0.6, 0.4]]}
    trace = load(tmp_path, lines(record), "r.jsonl")
    assert trace.weights is not None
    assert trace.weights.ravel().tolist() == pytest.approx([0.7, 0.3, 0.6, 0.4], abs=1e-3)
    with pytest.raises(InputError, match="line 1: 1 of topk_weights for 2 tokens"):
        load(tmp_path, lines(record | {"topk_weights": [[0.7, 0.3]]}), "r.jsonl")


@pytest.mark.parametrize(
    "text",
    [
        "layer,pos,topk_ids\n0,0,[3, 1]\n",
        'layer,pos,topk_ids\n0,0,"[np.int64(3), np.int64(1)]"\n',
        "layer,token,expert_1_id,expert_2_id,expert_1_weight,expert_2_weight\n0,0,3,1,.6,.4\n",
        "layer,token,0,1,2,3\n0,0,0,.4,0,.6\n",
        "layer,pos,e0,e1,w0,w1\n0,0,3,1,nan,.5\n",
    ],
)
def test_tables_as_programs_print_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    trace = import_trace(tmp_path / "r.csv", None, FOUR)
    assert of(trace) == ([0], [0], [[[3, 1]]])
    assert (trace.weights is None) == ("not recorded" in trace.header.notes or ".4" not in text)


def test_tables_of_powershell_and_layers_in_names_alone(tmp_path: Path) -> None:
    for layer in (2, 10):
        (tmp_path / f"layer_{layer}.csv").write_text(
            "token_id,expert_0,expert_1,expert_2,expert_3\n0,0,.4,0,.6\n"
        )
    trace = import_trace(tmp_path, None, ImportOptions(phase="decode"))
    assert (trace.header.moe_layers, trace.experts.tolist()) == ((2, 10), [[[3, 1], [3, 1]]])
    (tmp_path / "w.csv").write_text("layer,pos,topk_ids\r\n0,0,3;1\r\n", encoding="utf-16")
    assert import_trace(tmp_path / "w.csv", None, FOUR).n_tokens == 1


@pytest.mark.parametrize("column", ["token_id", "position"])
def test_numbers_beyond_32_bits_are_refused(tmp_path: Path, column: str) -> None:
    record = {"layer": 0, "position": 1, "sequence": 0, "token_id": 7, "experts": [3, 1]} | {column: 2**40}
    with pytest.raises(InputError, match=f"'{column}' goes from"):
        load(tmp_path, lines(record), "r.jsonl")


def test_a_folder_names_what_it_left(tmp_path: Path) -> None:
    others = ("a.json", "metrics.csv", "notes.md", "z.json")
    for name in others:
        (tmp_path / name).write_text('{"tps": 3}')
    (tmp_path / "run.jsonl").write_text(lines({"layer": 0, "position": 0, "experts": [3, 1]}))
    assert (
        import_trace(tmp_path, None, FOUR).header.notes == f"left out, without records: {', '.join(others)}"
    )
    (tmp_path / "run.jsonl").write_text(
        json.dumps({"choices": [{"routed_experts": [[[3, 1]]]}], "usage": {}})
    )
    assert (
        import_trace(tmp_path, None, FOUR).header.notes == f"left out, without records: {', '.join(others)}"
    )


def test_what_each_record_says_of_the_model(tmp_path: Path) -> None:
    text = lines(
        {"model": "org/x", "num_experts": 4, "layer": 0, "pos": 0, "experts": [3, 1], "phase": "decode"}
    )
    header = load(tmp_path, text, "r.jsonl", ImportOptions()).header
    assert (header.model, header.n_experts) == ("x", 4)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "r.jsonl",
            lines({"layer": 0, "expert_counts": {"0": 3, "1": 4}}),
            "counts of experts, without tokens",
        ),
        ("r.csv", "layer,expert_0,expert_1,expert_2\n0,12,45,9\n", "counts of experts, without tokens"),
        ("r.jsonl", lines({"layer": 0, "pos": 0, "router_logits": [0.1, 2.0]}), "logits of the router alone"),
        ("r.jsonl", lines(*[{"req_id": "a", "pos": 0, "layer": 0, "experts": [3, 1]}] * 2), "there 2 times"),
        ("r.csv", 'layer,pos,experts\n0,0,"[3, 1]"\n0,1,"[3,', r"line 3: the list '\[3,' is cut off"),
        (
            "r.jsonl",
            lines({"layer": 0, "pos": 0, "experts": [3, 1]}) + '{"lay',
            "line 2: not JSON .* truncated",
        ),
        ("r.json", '{"architectures": ["X"]}', "a model's configuration, no recording"),
    ],
    ids=range(7),
)
def test_what_cannot_be_replayed_is_recognised(tmp_path: Path, name: str, text: str, said: str) -> None:
    """Without a format: the cause, never that no format is recognised."""
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        import_trace(tmp_path / name, None, FOUR)
