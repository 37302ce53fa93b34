"""The phone's validation: what it must reach on the recorded runs, and that a fit finds what made the data.

The recorded runs are BigMoeOnEdge's (../shared/traces/README.md); the small one is made here.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from simulator import __version__
from simulator.cli import app
from simulator.config.yaml_file import load_yaml
from simulator.errors import InputError
from simulator.machine.hardware import HardwareProfile
from simulator.trace.sizes import TraceModel
from simulator.validate.accuracy import accuracy
from simulator.validate.phone.baselines import no_overlap
from simulator.validate.phone.compare import TokenRange
from simulator.validate.phone.fit import fit_phone
from simulator.validate.phone.recorded import PhoneRun, read_recorded
from simulator.validate.phone.replay import LANES, Parameters, Phone, Predicted
from simulator.validate.phone.run import worst_first
from tests.places import ROOT, SHARED

RECORDED = SHARED / "traces" / "bigmoe"
TRUE = Parameters(compute=15e9, lane=0.7e9, total=2.4e9, copy=4e9, per_pass=1.5e6, evict=9e9)
N_LAYERS, N_EXPERTS, TOP_K, TOKENS = 6, 16, 4, 40
EXPERT_BYTES = 3059712
READ = N_LAYERS * TOP_K * EXPERT_BYTES  # a token's, if it misses all
SUMMARY = "# summary tokens=40 cache_budget_MiB=100.0"
COLUMNS = "step,steps,wall_ms,io_ms,compute_ms,read_bytes,cache_hit_pct,stall_ms,mgmt_ms,majflt,cpu_ms"

needs_recorded = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded runs (../shared/traces) are absent"
)


def command(out: Path, *words: object) -> Result:
    return CliRunner().invoke(app, ["validate", "phone", "--out", str(out), *map(str, words)])


# -- on what was recorded -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Validate on both recorded runs by the command line."""
    out = tmp_path_factory.mktemp("phone") / "out"
    fit_on = ("--fit-trace", RECORDED / "qwen.route.csv", "--fit-metrics", RECORDED / "qwen.metrics.csv")
    other = ("--trace", RECORDED / "gptoss.route.csv", "--metrics", RECORDED / "gptoss.metrics.csv")
    done = command(out, *fit_on, *other)
    assert done.exit_code == 0, (done.output, done.exception)
    return out


def row(folder: Path, part: str, quantity: str, predictor: str = "simulated") -> pd.Series[float]:
    table = pd.read_csv(folder / "accuracy.csv").set_index(["part", "quantity", "predictor"])
    return table.loc[part, quantity, predictor]


@needs_recorded
def test_what_the_phone_must_reach(folder: Path) -> None:
    held_out = "qwen 65-128"
    stall, management = row(folder, held_out, "stall"), row(folder, held_out, "management")
    assert (stall["median"] <= 0.05, stall["r2"] >= 0.97) == (True, True), stall
    assert (management["median"] <= 0.03, management["r2"] >= 0.99) == (True, True), management
    assert row(folder, held_out, "wall, recorded compute")["median"] <= 0.015
    assert row(folder, "gptoss 1-64", "stall")["median"] <= 0.12
    # A line that knows the bytes does as well on the run that it was fitted on, and not on another one.
    assert row(folder, held_out, "stall", "line")["median"] <= 0.05
    assert row(folder, "gptoss 1-64", "stall", "line")["median"] >= 0.3


@needs_recorded
@pytest.mark.parametrize("part", ["qwen 65-128", "gptoss 1-64"])
def test_replaying_the_recorded_cache_changes_no_wall_time(folder: Path, part: str) -> None:
    for quantity in ("bytes read", "wall", "wall, recorded compute"):
        simulated, recorded = row(folder, part, quantity), row(folder, part, quantity, "policy: recorded")
        assert simulated["median"] == pytest.approx(recorded["median"], rel=1e-6)


@needs_recorded
def test_the_document_has_the_numbers_that_the_command_writes(folder: Path) -> None:
    written = (folder / "validation-phone.md").read_text(encoding="utf-8").splitlines()
    document = (ROOT / "docs" / "background" / "validation.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in written if line.startswith("|") and re.search(r"\d", line)]
    assert len(rows) > 50
    assert [row for row in rows if row not in document] == []


@needs_recorded
def test_the_fitted_profile_says_what_it_is(folder: Path) -> None:
    profile = load_yaml(folder / "oneplus-15r-fitted.yaml", HardwareProfile)
    assert profile.name == "oneplus-15r-fitted"
    assert profile.notes.startswith("fitted by moesim validate phone")
    assert "on qwen 1-64" in profile.notes
    link = profile.links["ssd_to_cpu"]
    assert link.lane_bandwidth is not None
    assert link.lane_bandwidth.measured
    assert link.bandwidth.value == pytest.approx(LANES * link.lane_bandwidth.value, rel=0.01)
    assert not link.bandwidth.measured  # the lanes limit: only a lower bound is known


@needs_recorded
def test_what_the_overlap_explains_and_what_it_does_not(folder: Path) -> None:
    def stall(part: str, predictor: str) -> float:
        return float(row(folder, part, "stall", predictor)["median"])

    assert stall("qwen 65-128", "no overlap") >= 0.3
    assert stall("gptoss 1-64", "no overlap") <= stall("gptoss 1-64", "simulated")
    assert stall("gptoss 1-64", "compute as recorded") >= 0.4
    page = (folder / "validation-phone.md").read_text(encoding="utf-8")
    said = page[page.index("### gptoss") : page.index("### qwen 65-128")]
    assert "supports the rates of lanes and\ncopies, **not** what overlaps what" in said
    assert page.count("**not** what overlaps what") == 1


@needs_recorded
def test_a_constant_wait_shows_how_easy_wall_with_recorded_compute_is(folder: Path) -> None:
    for part, r2 in (("gptoss 1-64", 0.986), ("qwen 65-128", 0.785)):
        found = row(folder, part, "wall, recorded compute", "constant")
        assert found["r2"] == pytest.approx(r2, abs=0.001)  # by hand, from the metrics alone


@needs_recorded
def test_the_page_says_how_it_came_about(folder: Path) -> None:
    page = (folder / "validation-phone.md").read_text(encoding="utf-8")
    for said in (
        f"moesim {__version__}",
        "--fit-trace qwen.route.csv --fit-metrics qwen.metrics.csv --fit-tokens 64",
        "--trace gptoss.route.csv --metrics gptoss.metrics.csv",
        "in sight; no\nparameter was fitted on a token outside",
        "a clock that changes behind them is not in the interval of compute",
        "qwen: a step after token 78, 83.2 → 94.5 ms",
        "gptoss: no step",
    ):
        assert said in page
    titles = ["### gptoss 1-64", "### qwen 65-128", "### qwen 1-64 (fitted on)"]
    assert sorted(titles, key=page.index) == titles  # worst wall time first, fitted last


def test_the_figure_in_the_document_is_there_and_small() -> None:
    page = (ROOT / "docs" / "background" / "validation.md").read_text(encoding="utf-8")
    assert "](../figures/validation-phone-residuals.png)" in page
    assert (ROOT / "docs" / "figures" / "validation-phone-residuals.png").stat().st_size < 150_000


# -- on what is made here -----------------------------------------------------------------------------


def write_run(folder: Path, columns: dict[str, np.ndarray] | None = None) -> tuple[Path, Path]:
    """Write a run of a small model; every token misses some experts (the same bytes for each)."""
    ones = np.ones(TOKENS)
    c = columns or {
        **dict.fromkeys(("wall_ms", "io_ms", "compute_ms", "stall_ms", "mgmt_ms"), ones),
        "read_bytes": READ * ones,
    }
    missed = [0, *(c["read_bytes"] / (N_LAYERS * TOP_K))]
    rng = np.random.default_rng(1)
    lines = [
        "# route_trace v1",
        f"# model=/x/small.gguf arch=x n_layer={N_LAYERS} n_expert={N_EXPERTS} n_expert_used={TOP_K}",
        *(f"# layer={layer} expert_bytes={EXPERT_BYTES} dense_bytes=11953152" for layer in range(N_LAYERS)),
        "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes",
    ]
    for step in range(TOKENS + 1):
        for layer in range(N_LAYERS):
            for slot, expert in enumerate(rng.permutation(N_EXPERTS)[:TOP_K]):
                lines.append(f"0,{int(step > 0)},{step},{layer},{slot},{expert},0.25,0,{missed[step]:.0f}")
    trace, metrics = folder / "small.route.csv", folder / "small.metrics.csv"
    trace.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [
        f"{i + 1},{TOKENS},{c['wall_ms'][i]},{c['io_ms'][i]},{c['compute_ms'][i]},{c['read_bytes'][i]:.0f},0,"
        f"{c['stall_ms'][i]},{c['mgmt_ms'][i]},0,1"
        for i in range(TOKENS)
    ]
    metrics.write_text("\n".join([COLUMNS, *rows, SUMMARY]) + "\n", encoding="utf-8")
    return trace, metrics


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write a run whose tokens took what the phone with TRUE parameters says."""
    folder = tmp_path_factory.mktemp("made")
    said = Phone(read_recorded(*write_run(folder))).predict(TRUE)
    columns = {
        "wall_ms": said.compute_ms + said.stall_ms + said.mgmt_ms,
        "io_ms": said.read_bytes / TRUE.lane * 1e3,
        **{name: getattr(said, name) for name in ("compute_ms", "read_bytes", "stall_ms", "mgmt_ms")},
    }
    return write_run(folder, columns)


def test_a_fit_finds_the_parameters_that_made_the_data(made: tuple[Path, Path]) -> None:
    fitted = fit_phone(read_recorded(*made))
    for name in ("compute", "lane", "total", "copy", "per_pass", "evict"):
        assert getattr(fitted.parameters, name) == pytest.approx(getattr(TRUE, name), rel=0.01), name
        low, high = fitted.interval[name]
        assert low <= high
    assert not fitted.lanes_limit


def test_only_the_first_tokens_are_seen_by_the_fit(made: tuple[Path, Path]) -> None:
    run = read_recorded(*made)
    spoilt = replace(run, columns={name: values.copy() for name, values in run.columns.items()})
    for values in spoilt.columns.values():
        values[20:] = 7.0
    assert fit_phone(run.first(20)).parameters == fit_phone(spoilt.first(20)).parameters


def test_the_same_input_gives_the_same_files(made: tuple[Path, Path], tmp_path: Path) -> None:
    words = ("--fit-trace", made[0], "--fit-metrics", made[1], "--fit-tokens", 20)
    for name in ("a", "b"):
        assert command(tmp_path / name, *words).exit_code == 0
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 9
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [
        (tmp_path / "b" / f).read_bytes() for f in files
    ]


def test_without_a_fit_the_shipped_parameters_are_judged(made: tuple[Path, Path], tmp_path: Path) -> None:
    done = command(tmp_path / "out", "--trace", made[0], "--metrics", made[1])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "validation-phone.md").read_text(encoding="utf-8")
    assert "nothing was fitted" in page
    assert not (tmp_path / "out" / "oneplus-15r-fitted.yaml").exists()
    assert "line: " not in page


# -- by hand ------------------------------------------------------------------------------------------


def test_accuracy_by_hand() -> None:
    found = accuracy(np.array([1.0, 2.0, 6.0]), np.array([1.0, 4.0, 4.0]))
    assert (found.median, found.mean) == (0.5, pytest.approx(1 / 3))
    assert found.p90 == 0.5
    assert found.bias == 0
    assert found.r2 == pytest.approx(1 - 8 / 6)
    assert np.isnan(accuracy(np.ones(2), np.ones(2)).r2)


def test_no_overlap_by_hand() -> None:
    """Four lanes of 1 GB/s, all together 2, and copies of 5 GB/s by each: 0.5 + 0.05 ns a byte."""
    one = np.ones(1)
    said = Predicted(stall_ms=one, mgmt_ms=one, compute_ms=one, read_bytes=2e6 * one)
    p = Parameters(compute=1, lane=1e9, total=2e9, copy=5e9, per_pass=0, evict=1)
    found = no_overlap(said, p)
    assert found.stall_ms == pytest.approx(2 * (0.5 + 0.05))
    assert found.mgmt_ms == 1


def test_parts_come_worst_first_and_the_fitted_last(made: tuple[Path, Path]) -> None:
    run = read_recorded(*made)
    parts = [TokenRange(run, 0, 9, fitted=True), TokenRange(run, 9, 20), TokenRange(run, 20, 30)]
    rows = {
        part.title: [{"quantity": "wall", "predictor": "simulated", "median": median}]
        for part, median in zip(parts, (0.9, 0.1, 0.2), strict=True)
    }
    assert [part.start for part in worst_first(parts, rows)] == [20, 9, 0]


def test_what_dense_blocks_read_changes_no_stall(made: tuple[Path, Path]) -> None:
    """What the page says of a run whose dense weights were paged."""
    phone = Phone(read_recorded(*made))
    before = phone.predict(TRUE)
    model = phone.inputs.model
    assert isinstance(model, TraceModel)
    slower = tuple(9 * size for size in model.dense_bytes_by_layer)
    phone.inputs = replace(phone.inputs, model=replace(model, dense_bytes_by_layer=slower))
    after = phone.predict(TRUE)
    assert (after.compute_ms > 2 * before.compute_ms).all()
    assert after.stall_ms == pytest.approx(before.stall_ms, rel=1e-6)


# -- runs that are odd, and fine ----------------------------------------------------------------------


def test_tokens_that_waited_for_nothing_are_left_out_and_counted(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    table = pd.read_csv(made[1], comment="#")
    table.loc[[5, 25], ["stall_ms", "io_ms"]] = 0.0
    metrics = tmp_path / "some.metrics.csv"
    metrics.write_text(table.to_csv(index=False) + SUMMARY + "\n", encoding="utf-8")
    fit_on = ("--fit-trace", made[0], "--fit-metrics", metrics, "--fit-tokens", 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = command(tmp_path / "out", *fit_on)
    assert done.exit_code == 0, (done.output, done.exception)
    found = row(tmp_path / "out", "small 21-40", "stall")
    assert found["zero_tokens"] == 1
    assert found["median"] <= 0.02
    page = (tmp_path / "out" / "validation-phone.md").read_text(encoding="utf-8")
    assert page.count("| stall (tokens of 0 left out: 1) |") == 2


def test_a_run_that_never_waited_is_judged_by_what_is_left(made: tuple[Path, Path], tmp_path: Path) -> None:
    table = pd.read_csv(made[1], comment="#").assign(stall_ms=0.0)
    metrics = tmp_path / "none.metrics.csv"
    metrics.write_text(table.to_csv(index=False) + SUMMARY + "\n", encoding="utf-8")
    done = command(tmp_path / "out", "--trace", made[0], "--metrics", metrics)
    assert done.exit_code == 0, (done.output, done.exception)
    page = (tmp_path / "out" / "validation-phone.md").read_text(encoding="utf-8")
    assert "| stall (tokens of 0 left out: 40) | - | - | - | - | - |" in page
    assert "nan" not in page + done.output
    done = command(tmp_path / "fit", "--fit-trace", made[0], "--fit-metrics", metrics, "--fit-tokens", 20)
    assert isinstance(done.exception, InputError), done.exception
    assert "0 tokens above 0 for 2 parameters" in str(done.exception)


def test_no_page_fault_at_all_is_a_dash(made: tuple[Path, Path], tmp_path: Path) -> None:
    done = command(tmp_path / "out", "--trace", made[0], "--metrics", made[1])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "validation-phone.md").read_text(encoding="utf-8")
    assert "| their correlation with compute | - |" in page
    assert "nan" not in page


# -- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("find", "put", "said"),
    [
        ("stall_ms,", "stalled,", "no column stall_ms"),
        (SUMMARY, "", "cache_budget_MiB"),
        ("\n40,40,", "\n# 40,40,", "39 tokens, but"),
        ("\n2,40,1.0,", "\n2,40,0,", "wall_ms is 0.0 at step 2; a number above 0"),
        ("\n2,40,1.0,", "\n2,40,x,", "wall_ms is x at step 2"),
        ("\n2,40,1.0,1.0,1.0,", "\n2,40,1.0,1.0,0,", "compute_ms is 0.0 at step 2; a number above 0"),
        ("\n2,40,1.0,1.0,", "\n2,40,1.0,-1,", "io_ms is -1.0 at step 2; a number of 0 or more"),
        ("\n2,40,", "\n3,40,", "step is 3 at step 2; steps from 1 on, in order"),
        ("step,steps", "stop,steps", "no column step"),
        (
            f"1.0,{READ},0,1.0,1.0,0,1\n2,",
            "1.0,7,0,1.0,1.0,0,1\n2,",
            "token 1 read 7 bytes, but its misses in",
        ),
        (COLUMNS, '"', "cannot be read as a CSV"),
    ],
)
def test_wrong_metrics_are_refused(tmp_path: Path, find: str, put: str, said: str) -> None:
    trace, metrics = write_run(tmp_path)
    text = metrics.read_text(encoding="utf-8")
    assert find in text
    metrics.write_text(text.replace(find, put), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_recorded(trace, metrics)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_metrics_in_reverse_or_of_another_run_are_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    table = pd.read_csv(made[1], comment="#")
    backwards = table[::-1]
    metrics = tmp_path / "x.metrics.csv"
    for other, said in (
        (backwards, "step is 40 at step 1"),
        (backwards.assign(step=table["step"].to_numpy()), "trace and metrics of one run"),
        (table.assign(read_bytes=table["read_bytes"] * 1.03), "trace and metrics of one run"),
    ):
        metrics.write_text(other.to_csv(index=False) + SUMMARY + "\n", encoding="utf-8")
        with pytest.raises(InputError, match=said):
            read_recorded(made[0], metrics)
    near = table.assign(read_bytes=table["read_bytes"] * 1.01)
    metrics.write_text(near.to_csv(index=False) + SUMMARY + "\n", encoding="utf-8")
    assert len(read_recorded(made[0], metrics)) == TOKENS


def test_a_run_of_a_prompt_alone_is_refused(tmp_path: Path) -> None:
    trace, metrics = write_run(tmp_path)
    lines = [line for line in trace.read_text(encoding="utf-8").splitlines() if not line.startswith("0,1,")]
    trace.write_text("\n".join(lines) + "\n", encoding="utf-8")
    metrics.write_text(f"{COLUMNS}\n{SUMMARY}\n", encoding="utf-8")
    with pytest.raises(InputError, match="no decoded token"):
        read_recorded(trace, metrics)


def test_a_trace_without_what_was_read_is_refused(
    made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = replace(read_recorded(*made).trace, recorded_bytes=None)
    monkeypatch.setattr("simulator.validate.phone.recorded.import_trace", lambda *_: trace)
    with pytest.raises(InputError, match="does not say what was read"):
        read_recorded(*made)


def test_absent_and_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, metrics = write_run(tmp_path)
    for pair in ((tmp_path / "no", metrics), (trace, tmp_path / "no")):
        with pytest.raises(InputError, match="no such file"):
            read_recorded(*pair)
    monkeypatch.setattr("simulator.validate.phone.recorded.MOST_BYTES", 10)
    with pytest.raises(InputError, match="at most 10 bytes"):
        read_recorded(trace, metrics)


def test_words_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    trace, metrics = write_run(tmp_path)
    out = tmp_path / "out"
    pair = ("--trace", trace, "--metrics", metrics)
    fit_on = ("--fit-trace", trace, "--fit-metrics", metrics)
    for words, said in (
        ((), "no run is given"),
        (("--trace", trace), "1 traces and 0 metrics"),
        (("--fit-trace", trace), "goes with --fit-metrics"),
        ((*fit_on, "--fit-tokens", 40), "8 to 39"),
        ((*fit_on, "--fit-tokens", 3), "8 to 39"),
        ((*pair, *pair), "two runs are called small"),
    ):
        done = command(out, *words)
        assert isinstance(done.exception, InputError), done.output
        assert said in str(done.exception)
        assert not out.exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    trace, metrics = write_run(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept", encoding="utf-8")
    done = command(tmp_path / "out", "--trace", trace, "--metrics", metrics)
    assert isinstance(done.exception, InputError)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_without_scipy_the_extra_is_named(made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scipy.optimize", None)
    with pytest.raises(InputError, match=r"pip install 'moesim\[validate\]'"):
        fit_phone(read_recorded(*made))


def test_a_run_can_be_cut(made: tuple[Path, Path]) -> None:
    run = read_recorded(*made)
    assert isinstance(run, PhoneRun)
    whole, cut = Phone(run).predict(TRUE), Phone(run.first(9)).predict(TRUE)
    assert len(cut.stall_ms) == 9
    assert (whole.stall_ms[:9] == cut.stall_ms).all()
