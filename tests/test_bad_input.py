"""Bad input is refused in one line that says where and what to do, with status 2 and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import data
from tests.command_line import GOOD, experiment, moesim, refused

SETTINGS = {
    "an unknown key": ("memory.gpu_expert_cach=1 GiB", "did you mean 'gpu_expert_cache'?"),
    "an unknown key at the top": ("modle=x", "did you mean 'model'?"),
    "an unknown model": ("model=mixtral-8x7", "did you mean 'mixtral-8x7b'?"),
    "an unknown machine": ("hardware=rtx4090", "rtx4090-pcie4"),
    "an unknown trace": ("trace=olmo-mini", "did you mean 'olmoe-mini'?"),
    "an unknown system": ("system=lru-on-demnd", "did you mean 'lru-on-demand'?"),
    "an unknown policy": ("policies.eviction=lur", "did you mean"),
    "an unknown parameter": ("policies.eviction={name: lfu, survive: true}", "survive_eviction"),
    "an unknown figure": ("figures=[hitrate]", "did you mean 'hit-rate'?"),
    "a wrong unit": ("memory.gpu_expert_cache=2 GHz", "wrong unit"),
    "no unit": ("memory.gpu_expert_cache=2", "no unit"),
    "a negative size": ("memory.gpu_expert_cache=-2 GiB", "negative"),
    "less than one expert": ("memory.gpu_expert_cache=1 MiB", "less than one expert"),
    "more than the memory": ("memory.gpu_expert_cache=13 GiB", "expert cache ="),
    "a model too large for the machine": ("model=kimi-k2", "trace olmoe-mini"),
    "a batch of nobody": ("workload.batch_size=0", "workload.batch_size"),
    "a fraction above one": ("memory.gpu_expert_cache={fraction: 1.5}", "fraction"),
    "two sizes": ("memory.gpu_expert_cache={fraction: 0.5, experts_per_layer: 3}", "one of"),
    "a tier that is not there": ("hardware=oneplus-15r", "no gpu tier"),
    "CPU experts without a CPU": ("hardware=jetson-agx-orin-32gb policies.placement=cpu", "no CPU"),
    "more lookahead than was recorded": (
        "policies.prefetch={name: gate-lookahead, n_layers: 9}",
        "predicts 3",
    ),
    "a policy without its record": ("policies.eviction=recorded", "no recorded_residency"),
    "a lower tier's policy without its record": (
        "memory.cpu_expert_cache={fraction: 0.5} policies.cpu_eviction=recorded",
        "no recorded_residency",
    ),
    "sizes from a trace of another model": (
        "model=qwen3-30b-a3b",
        "MoE layers 16, but model qwen3-30b-a3b has 48",
    ),
    "a missing file": ("trace=./absent.parquet", "no such file"),
    "an unknown precision": ("precision.experts=[fp17]", "did you mean"),
    "a sweep over nothing": ("sweep.grid={memory.gpu_cache: [1 GiB]}", "gpu_cache"),
    "an empty grid": ("sweep.grid={seed: []}", "sweep.grid"),
    "no equals sign": ("memory", "key=value"),
    "one byte less than an expert": (
        "memory.gpu_expert_cache=12582911 B",
        "12582911 B is less than one expert; at least 12582912 B",
    ),
    "a cache beyond 64 bits": ("memory.gpu_expert_cache=9.3e6 TB", "at most 9223372036854775807 B"),
    "a run of centuries": ("runtime.overhead.per_miss=9e9 s", "of them for runtime.overhead"),
}


@pytest.mark.parametrize(("given", "says"), SETTINGS.values(), ids=SETTINGS.keys())
def test_a_bad_setting_is_refused(tmp_path: Path, given: str, says: str) -> None:
    words = [word for text in given.split(" ") if "=" in text or text == "memory" for word in ("--set", text)]
    if " " in given and given.count("=") == 1:
        words = ["--set", given]
    elif given.startswith("memory.cpu"):
        words = [
            "--set",
            "memory.cpu_expert_cache={fraction: 0.5}",
            "--set",
            "policies.cpu_eviction=recorded",
        ]
    line = refused(tmp_path, "run", experiment(tmp_path), *words, "--out", "out")
    assert says in line


FILES = {
    "a list": (b"- a\n- b\n", "not a mapping"),
    "no YAML": (b"a: [1, 2\n", "not valid YAML"),
    "binary": (b"\x00\xff\xfe\x80", "cannot be read as text"),
    "a key twice": (GOOD.encode() + b"model: mixtral-8x7b\n", "duplicate key"),
    "a missing key": (b"name: x\n", "missing"),
    "code": (b"name: !!python/object/apply:os.system ['touch hacked']\n", "plain values"),
    "an unknown key inside": (GOOD.encode() + b"  gpu: 3\n", "e.yaml:8: memory.gpu"),
}


@pytest.mark.parametrize(("content", "says"), FILES.values(), ids=FILES.keys())
def test_a_bad_file_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "e.yaml").write_bytes(content)
    assert says in refused(tmp_path, "run", "./e.yaml", "--out", "out")


def test_a_damaged_trace_is_refused(tmp_path: Path) -> None:
    whole = (data.folder("traces") / "olmoe-mini.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "foreign.parquet").write_bytes(b"PAR1 this is none PAR1")
    for name in ("cut", "foreign"):
        line = refused(
            tmp_path, "run", experiment(tmp_path), "--set", f"trace=./{name}.parquet", "--out", "out"
        )
        assert f"{name}.parquet" in line


def test_a_folder_with_something_else_is_not_overwritten(tmp_path: Path) -> None:
    path = experiment(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("important")
    assert "no results of moesim" in refused(tmp_path, "run", path, "--out", "mine", "--force")
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(tmp_path, "run", path, "--out", "file")
    assert moesim(tmp_path, "run", path, "--out", "out").returncode == 0
    assert moesim(tmp_path, "run", path, "--out", "out").returncode == 0, "the same run may be made again"
    summary = (tmp_path / "out" / "summary.csv").read_bytes()
    other = ("run", path, "--out", "out", "--set", "policies.eviction=fifo")
    assert "holds the results of another run" in refused(tmp_path, *other)
    assert (tmp_path / "out" / "summary.csv").read_bytes() == summary
    assert moesim(tmp_path, *other, "--force").returncode == 0
    assert (tmp_path / "out" / "summary.csv").read_bytes() != summary
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.yaml", "file", "mine", "out"]


def test_a_model_too_large_shows_the_arithmetic(tmp_path: Path) -> None:
    text = GOOD.replace("2 GiB", "10.5 GiB")
    line = refused(tmp_path, "run", experiment(tmp_path, text), "--out", "out")
    for term in (
        "non-expert weights",
        "KV cache",
        "staging",
        "10.50 GiB expert cache",
        "more than 11.00 GiB",
    ):
        assert term in line


def test_unknown_words_of_the_command_line_are_refused(tmp_path: Path) -> None:
    assert "did you mean 'models'?" in refused(tmp_path, "list", "model")
    assert moesim(tmp_path, "rum").returncode == 2
    assert moesim(tmp_path, "run").returncode == 2
