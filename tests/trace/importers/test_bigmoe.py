"""BigMoeOnEdge's route CSV: any k, layers, experts and turns; faults in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.trace.importers.registry import import_trace
from tests.trace.examples import one_line

BIGMOE = """# route_trace v1
# model=/data/My-MoE-IQ3_XXS.gguf arch=x n_layer=4 n_expert=9 n_expert_used=3
# layer=0 expert_bytes=0 dense_bytes=70
# layer=1 expert_bytes=10 dense_bytes=71
# layer=3 expert_bytes=30 dense_bytes=73
turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped
0,0,0,1,0,5,0.5,0,10,0
0,0,0,1,1,6,0.3,0,10,0
0,0,0,1,2,7,0.2,2,0,0
0,0,1,1,0,5,0.6,1,0,0
0,0,1,1,1,8,0.3,1,0,0
0,0,1,1,2,0,0.1,0,10,0
0,0,1,3,0,1,0.5,0,30,0
0,0,1,3,1,2,0.25,0,30,0
0,0,1,3,2,3,0.25,0,30,0
0,1,2,1,0,1,0.5,0,10,0
0,1,2,1,1,2,0.25,0,10,0
0,1,2,1,2,3,0.25,0,10,0
1,0,3,3,0,4,0.5,0,30,0
1,0,3,3,1,2,0.25,1,0,0
1,0,3,3,2,3,0.25,1,0,0
1,1,4,3,0,4,0.5,1,0,0
1,1,4,3,1,2,0.25,1,0,0
1,1,4,3,2,3,0.25,1,0,0
"""


def test_bigmoe_of_other_k_layers_experts_and_turns(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text(BIGMOE)
    trace = import_trace(file, "bigmoe")
    header = trace.header
    assert (header.model, header.precision) == ("My-MoE", "IQ3_XXS")
    assert (header.n_layers, header.n_experts, header.top_k) == (2, 9, 3)
    assert (header.moe_layers, header.n_model_layers) == ((1, 3), 4)
    assert (header.expert_bytes, header.dense_bytes) == ((10, 30), (71, 73))
    assert trace.sequence.tolist() == [0, 0, 0, 1, 1]
    assert trace.position.tolist() == [0, 1, 2, 3, 4]
    assert trace.phase.tolist() == [0, 0, 1, 0, 1]
    assert trace.experts[:, 0].tolist() == [[5, 6, 7], [5, 8, 0], [1, 2, 3], [-1] * 3, [-1] * 3]
    assert trace.experts[:, 1].tolist() == [[-1] * 3, [1, 2, 3], [-1] * 3, [4, 2, 3], [4, 2, 3]]
    assert trace.recorded_resident is not None
    assert trace.recorded_resident[0].tolist() == [[0, 0, 1], [-1, -1, -1]]
    assert trace.recorded_bytes is not None
    assert trace.recorded_bytes[1].tolist() == [[0, 0, 10], [30, 30, 30]]


def test_bigmoe_weights_that_are_unknown_are_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text(BIGMOE.replace("5,0.6", "5,nan"))
    trace = import_trace(file, "bigmoe")
    assert trace.weights is None
    assert trace.header.weights == "none"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0,0,0,1,1,6", "0,0,0,1,1,5", "sequence 0 position 0 layer 1: experts has an expert twice"),
        ("0,0,0,1,1,6,0.3,0,10,0\n", "", "sequence 0 position 0 layer 1: experts row is partly missing"),
        ("0,0,0,1,1,6", "0,0,0,1,0,6", "same slot twice"),
        ("0,0,0,1,1,6", "0,0,0,1,1,9", "experts holds 9; allowed: 0..8"),
        ("0,0,0,1,1,6", "0,0,0,1,3,6", "slots do not fit n_expert_used=3"),
        ("0,0,0,1,1,6,0.3,0", "0,0,0,1,1,6,0.3,3", "impossible recorded_resident"),
        ("0,0,0,1,1,6,0.3", "0,0,0,1,1,6,-0.3", "weights is negative"),
        ("0,0,0,1,1,6", "0,0,0,1,1,six", "six"),
        ("0,0,0,1,1,6", "0,7,0,1,1,6", "unknown phase"),
        ("0,0,0,1,1,6", "0,1,0,1,1,6", "its position does not ascend"),
        ("1,0,3,3", "1,1,4,1", "partly missing"),
        ("1,0,3,3", "1,0,-3,3", "negative position"),
        (",dropped\n", ",dropped\n0,0,0", "columns of a route CSV"),
        ("slot,", "rank,", "slot"),
        ("n_expert=9 ", "", "no 'n_expert='"),
        ("n_layer=4", "n_layer=3", "allowed: 0..2"),
        (BIGMOE, "", "not a route CSV"),
        (BIGMOE, BIGMOE[: BIGMOE.index("0,0,0,1")], "slots do not fit"),
    ],
)
def test_bigmoe_faults(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = tmp_path / "r.csv"
    assert old in BIGMOE
    file.write_text(BIGMOE.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        import_trace(file, "bigmoe")
    assert words in one_line(caught.value)
