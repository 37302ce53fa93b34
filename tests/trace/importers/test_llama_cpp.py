"""llama.cpp: rows of the last layer belong to the last tokens of their pass."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.trace.importers.registry import import_trace
from tests.places import ROOT
from tests.trace.examples import one_line
from tests.trace.importers.trace_files import write

LLAMA = """# moesim llama.cpp routing 1 model=/m/Tiny-Q4.gguf n_layer=2 n_expert=4 n_expert_used=1
sequence,phase,pass,n_tokens,layer,n_rows,row,expert_0
0,0,0,3,0,3,0,1
0,0,0,3,0,3,1,2
0,0,0,3,0,3,2,3
0,0,1,2,0,2,0,0
0,0,1,2,0,2,1,1
0,0,1,2,1,1,0,2
0,1,2,1,0,1,0,3
0,1,2,1,1,1,0,0
1,0,3,2,0,2,0,0
1,0,3,2,0,2,1,1
1,0,3,2,1,2,0,2
1,0,3,2,1,2,1,3
"""


def test_llama_cpp_prompts_in_several_passes(tmp_path: Path) -> None:
    trace = import_trace(write(tmp_path / "r.csv", LLAMA))
    assert trace.header.model == "Tiny-Q4"
    assert trace.sequence.tolist() == [0] * 6 + [1] * 2
    assert trace.position.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert trace.phase.tolist() == [0] * 5 + [1] + [0] * 2
    assert trace.experts[:, 0, 0].tolist() == [1, 2, 3, 0, 1, 3, 0, 1]
    assert trace.experts[:, 1, 0].tolist() == [-1, -1, -1, -1, 2, 0, 2, 3]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0,0,1,2,0,2,0,0", "0,0,5,2,0,2,0,0", "pass 1 layer 0 row 1: passes are not in order"),
        ("0,0,1,2,0,2,1,1", "0,0,1,3,0,2,1,1", "its pass has another sequence or n_tokens"),
        ("0,0,1,2,0,2,1,1", "1,0,1,2,0,2,1,1", "its pass has another sequence or n_tokens"),
        ("0,0,1,2,1,1,0,2", "0,0,1,2,1,3,0,2", "row, n_rows and n_tokens do not fit"),
        ("0,0,1,2,1,1,0,2", "0,0,1,2,1,1,1,2", "row, n_rows and n_tokens do not fit"),
        ("0,0,1,2,1,1,0,2", "0,0,1,2,1,1,-1,2", "row, n_rows and n_tokens do not fit"),
        ("0,0,1,2,1,1,0,2", "0,1,1,2,1,1,0,2", "sequence 0 position 4: phase differs between its rows"),
        ("0,0,1,2,1,1,0,2", "0,0,1,2,0,1,0,2", "the same row or slot twice"),
        ("0,0,1,2,1,1,0,2", "0,0,1,2,1,1,0,4", "allowed: 0..3"),
        ("routing 1", "routing 2", "its first line does not begin"),
        ("n_expert_used=1", "n_expert_used=0", "n_expert_used=0; allowed: 1..1024"),
        ("n_expert_used=1", "n_expert_used=2", "no column 'expert_1'; did you mean 'expert_0'?"),
        ("n_expert=4 ", "", "no 'n_expert=' in its # lines"),
        ("model=/m/Tiny-Q4.gguf ", "", "no 'model=' in its # lines"),
        (LLAMA[LLAMA.index("\n0,0,0") :], "\n", "no routed tokens"),
    ],
)
def test_llama_cpp_faults(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in LLAMA
    with pytest.raises(InputError) as caught:
        import_trace(write(tmp_path / "r.csv", LLAMA.replace(old, new, 1)), "llama-cpp")
    assert words in one_line(caught.value)


GUIDE = ROOT / "docs" / "guides" / "llama-cpp.md"
# As much of llama.cpp's headers as the callback uses, and a driver that plays a prompt of 3 tokens and one
# decode step through 2 layers of 4 experts, top-2 views of a sorted list of all 4.
STUBS = {
    "ggml.h": """#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
struct ggml_tensor { int64_t ne[4]; size_t nb[4]; char name[64]; void * data; };""",
    "ggml-backend.h": """#pragma once
#include "ggml.h"
inline void ggml_backend_tensor_get(const ggml_tensor * t, void * to, size_t offset, size_t size) {
    memcpy(to, (const char *) t->data + offset, size);
}""",
    "llama.h": """#pragma once
#include <cstdio>
#include <cstdint>
#include <cstring>
struct llama_model {};
inline int32_t llama_model_n_layer(const llama_model *) { return 2; }
inline int32_t llama_model_meta_val_str(const llama_model *, const char * key, char * to, size_t n) {
    const char * value = !strcmp(key, "general.architecture") ? "tiny"
        : !strcmp(key, "general.name") ? "Tiny MoE" : !strcmp(key, "tiny.expert_count") ? "4"
        : !strcmp(key, "tiny.expert_used_count") ? "2" : "";
    return snprintf(to, n, "%s", value);
}""",
    "main.cpp": """#include "moesim-routing.h"
static bool show(moesim_routing & r, int layer, int n, int first) {
    int32_t sorted[3][4];
    for (int i = 0; i < n; i++) for (int e = 0; e < 4; e++) sorted[i][e] = (first + i + layer + e) % 4;
    ggml_tensor t = {{2, n, 1, 1}, {4, 16, 16, 16}, "", sorted};
    snprintf(t.name, sizeof(t.name), "ffn_moe_topk-%d", layer);
    ggml_tensor other = {{2, n, 1, 1}, {4, 16, 16, 16}, "ffn_moe_weights-0", sorted};
    return moesim_routing_callback(&t, true, &r) && moesim_routing_callback(&t, false, &r)
        && !moesim_routing_callback(&other, true, &r) && moesim_routing_callback(&other, false, &r);
}
int main(int, char ** argv) {
    llama_model model;
    moesim_routing r;
    if (!moesim_routing_open(r, argv[1], &model)) return 1;
    if (!show(r, 0, 3, 0) || !show(r, 1, 1, 2)) return 2;
    r.phase = 1;
    if (!show(r, 0, 1, 3) || !show(r, 1, 1, 3)) return 3;
    fclose(r.out);
}""",
}


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
def test_the_callback_of_the_guide_writes_what_is_read(tmp_path: Path) -> None:
    callback = GUIDE.read_text(encoding="utf-8").split("```cpp\n")[1].split("```")[0]
    assert callback.count("\n") <= 60
    for name, text in (STUBS | {"moesim-routing.h": callback}).items():
        write(tmp_path / name, text)
    compiler = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", str(tmp_path)]
    program, out = str(tmp_path / "program"), str(tmp_path / "routing.csv")
    subprocess.run([*compiler, str(tmp_path / "main.cpp"), "-o", program], check=True)
    subprocess.run([program, out], check=True)
    trace = import_trace(out)
    assert trace.header.model == "Tiny MoE"
    assert trace.experts[:, 0].tolist() == [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert trace.experts[:, 1].tolist() == [[-1, -1], [-1, -1], [3, 0], [0, 1]]
    assert trace.phase.tolist() == [0, 0, 0, 1]
