"""What of the phone's validation may be set, and the tensors that a run's metrics tell."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from simulator.errors import InputError
from simulator.validate.phone.recorded import read_recorded
from simulator.validate.phone.replay import Phone
from tests.validate.phone.test_validation import (
    EXPERT_BYTES,
    N_LAYERS,
    READ,
    TOP_K,
    TRUE,
    command,
    write_run,
)


def paths_of(folder: Path, kind: str) -> tuple[object, ...]:
    """Write a run; return the words that name its files."""
    trace, metrics = write_run(folder)
    return (f"--{kind}trace", trace, f"--{kind}metrics", metrics)


def test_what_is_set_changes_the_prediction_and_is_said(tmp_path: Path) -> None:
    words = paths_of(tmp_path, "")
    assert command(tmp_path / "a", *words).exit_code == 0
    done = command(tmp_path / "b", *words, "--set", "runtime.parts=1", "--set", "policies.eviction=fifo")
    assert done.exit_code == 0, (done.output, done.exception)
    page = (tmp_path / "b" / "validation-phone.md").read_text(encoding="utf-8")
    assert "--set runtime.parts=1 \\\n    --set policies.eviction=fifo\n" in page
    tables = [pd.read_csv(tmp_path / name / "tokens.csv") for name in ("a", "b")]
    differs = (tables[0]["predicted_stall_ms"] != tables[1]["predicted_stall_ms"]).groupby(
        tables[0]["predictor"]
    )
    assert differs.any()[["simulated", "policy: recorded"]].all()
    again = command(tmp_path / "b", *words)
    assert isinstance(again.exception, InputError)  # other settings, other results


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "memory.cpu_expert_cache=1 GiB"), "memory.cpu_expert_cache: has no effect on this"),
        (
            ("--set", "trace=x.parquet"),
            "trace: has no effect on this validation; allowed: hardware, policies",
        ),
        (("--set", "workload.batch_size=2"), "workload.batch_size: has no effect"),
        (
            ("--set", "runtime.overhead.per_pass=2 ms"),
            "per_pass: has no effect with --fit-trace: it is fitted",
        ),
        (("--set", "runtime.overhead={evict_rate: 9 GB/s}"), "has no effect with --fit-trace: it is fitted"),
        (("--set", "runtime.part=2"), "did you mean 'parts'"),
        (("--set", "hardware=rtx4090-pcie4"), "no link ssd_to_cpu with lane_bandwidth and copy_after_read"),
    ],
)
def test_what_is_set_without_effect_is_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    fit_on = (*paths_of(tmp_path, "fit-"), "--fit-tokens", 20)
    done = command(tmp_path / "out", *fit_on, *words)
    assert isinstance(done.exception, InputError), (done.output, done.exception)
    assert said in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_run_whose_metrics_tell_two_tensors_is_simulated_with_two(tmp_path: Path) -> None:
    """Each token misses 24 experts: 8,192 bytes more for each are two tensors, whose sizes are then known."""
    trace, metrics = write_run(tmp_path)
    metrics.write_text(metrics.read_text().replace(f",{READ},", f",{READ + N_LAYERS * TOP_K * 8192},"))
    run = read_recorded(trace, metrics)
    assert run.trace.header.expert_tensor_bytes == ((2 * EXPERT_BYTES // 3, EXPERT_BYTES // 3),) * N_LAYERS
    assert "an expert is 2 tensors" in run.about_tensors
    read = Phone(run).predict(TRUE).read_bytes
    assert (read % EXPERT_BYTES % 8192 == 0).all()
    assert read.max() > 0
    untold = read_recorded(*write_run(tmp_path))
    assert untold.trace.header.expert_tensor_bytes is None
    assert "3 equal ones are assumed" in untold.about_tensors
