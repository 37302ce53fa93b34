"""Every published system runs on every kind of trace and machine, or says why it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from policies.registry import listing
from simulator.errors import InputError
from simulator.experiment.systems import load_system, system_names
from simulator.runs.experiment import run_experiment
from simulator.trace.core import Trace
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from simulator.trace.parquet import read_trace, write_trace
from tests.places import ROOT
from tests.trace.examples import RECORDED, needs_recorded

TRACES = {
    "olmoe-1b-7b": (ROOT / "traces" / "olmoe-mini.parquet", None),
    "gpt-oss-20b": (RECORDED / "gpt-oss-20b" / "decode-80seq.npz", ImportOptions()),
    "deepseek-v2-lite": (RECORDED / "deepseek-v2-lite-esft" / "translation", ImportOptions(phase="split:8")),
    "qwen1.5-moe-a2.7b": (RECORDED / "qwen1.5-moe" / "cooking_1.json", ImportOptions()),
}
MACHINES = ("rtx4090-pcie4", "jetson-agx-orin-32gb")
REFUSED = {
    "exllamav3-stream": "has no CPU beside a GPU",
    "fiddler": "has no CPU beside a GPU",
    "freetoken-hybrid": "has no CPU beside a GPU",
    "hobbit-cpu": "has no CPU beside a GPU",
    "hybrimoe": "has no CPU beside a GPU",
    "ktransformers": "has no CPU beside a GPU",
    "llama-cpp-moe-cache": "has no CPU beside a GPU",
    "llama-cpp-n-cpu-moe": "has no CPU beside a GPU",
    "static-cpu-experts": "has no CPU beside a GPU",
    "mixtral-offloading": "exclusive needs a link gpu_to_cpu",
    "lru-gate-lookahead": "no recorded predictions",  # assumes no accuracy
}
EVICTS_LATE = {"big-moe-on-edge"}
"""Systems whose cache is over its size until a step has ended."""


def beginning(trace: Trace, tokens: int = 20) -> Trace:
    """Return the first tokens of the first sequence that decodes, its prompt included."""
    sequence = trace.sequence[np.flatnonzero(trace.phase == 1)[0]]
    rows = np.flatnonzero(trace.sequence == sequence)
    first_decoded = int(np.flatnonzero(trace.phase[rows] == 1)[0])
    keep = rows[max(0, first_decoded - 8) : first_decoded + tokens]
    arrays = {name: getattr(trace, name) for name in ("sequence", "position", "phase", "experts", "weights")}
    some = {name: array[keep] for name, array in arrays.items() if array is not None}
    said = {name: tuple(a[keep] for a in getattr(trace, name)) for name in ("predicted", "predicted_weights")}
    return replace(trace, **some, **said, gate_top=None, gate_top_p=None, token_id=None)


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("traces")
    found = {}
    for model, (source, options) in TRACES.items():
        if source.exists():
            trace = read_trace(source) if options is None else import_trace(source, None, options)
            write_trace(beginning(trace), folder / f"{model}.parquet")
            found[model] = folder / f"{model}.parquet"
    return found


@pytest.mark.parametrize(
    "model", [pytest.param(m, marks=() if m.startswith("olmoe") else needs_recorded) for m in TRACES]
)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("system", system_names())
def test_every_system_runs_or_says_why_not(
    system: str, machine: str, model: str, traces: dict[str, Path], tmp_path: Path
) -> None:
    text = {
        "name": "e",
        "model": model,
        "hardware": machine,
        "trace": str(traces[model]),
        "system": system,
        "memory": {"gpu_expert_cache": {"fraction": 0.4}},
    }
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    try:
        (run,) = run_experiment(str(tmp_path / "e.yaml"), [], tmp_path / "out").runs
    except InputError as error:
        assert REFUSED[system] in str(error)  # noqa: PT017 - refused or played, both are asserted
        assert machine.startswith("jetson") or not model.startswith("olmoe")
        return
    m = run.metrics
    assert float(str(m["tokens_per_second"])) > 0
    parts = ("misses_fetched", "misses_cpu", "misses_deferred", "misses_substituted", "misses_skipped")
    assert m["misses"] == sum(int(str(m[part])) for part in parts)
    shares = [m[f"gate_mass_{how}"] for how in ("high", "low", "substituted", "deferred", "skipped")]
    assert sum(map(float, map(str, shares))) == pytest.approx(1)
    if system not in EVICTS_LATE:
        assert int(str(m["peak_gpu_bytes"])) <= int(str(run.identity["gpu_expert_cache_bytes"]))


def test_every_system_and_policy_has_a_line_and_says_whose_it_is() -> None:
    plain = {"always", "global", "none", "fixed", "fetch", "as-recorded", "as-routed"}
    for row in listing():
        assert row.doc
        assert row.cite or row.name in plain
    ours = {"lfu-per-layer", "lru-on-demand", "lru-oracle-prefetch", "static-cpu-experts"}
    for name in system_names():
        system = load_system(name, "here")
        assert system.title
        assert system.cite or name in ours


def test_a_phone_without_a_gpu_refuses_what_needs_other_precisions() -> None:
    text = ROOT / "experiments" / "phone-bigmoe.yaml"
    with pytest.raises(InputError):
        run_experiment(str(text), ["system=hobbit"], Path("never"))
