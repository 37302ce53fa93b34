"""The reference run: an engine that is real, beside its simulation.

Times are never asserted; hits are, since a cache that is LRU in both has to hit alike, and so are errors
that are worked out on logs made up here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from simulator.calibrate import gpu as gpu_module
from simulator.calibrate import gpu_bench as bench_module
from simulator.calibrate import measure as measure_module
from simulator.calibrate.device import Device, cuda_device
from simulator.calibrate.marks import NUMPY
from simulator.calibrate.readers import Read, Readers
from simulator.calibrate.scratch import scratch_file
from simulator.calibrate.system import this_system
from simulator.cli import app
from simulator.engine.demand import Record
from simulator.errors import InputError
from simulator.machine.hardware import HardwareProfile, load_hardware
from simulator.trace.core import Trace, TraceHeader
from simulator.validate.reference import gpu as gpu_machine
from simulator.validate.reference import intro, report, write
from simulator.validate.reference import setup as reference_setup
from simulator.validate.reference.cache import ExpertCache
from simulator.validate.reference.gpu import GpuMachine
from simulator.validate.reference.labels import label_lines
from simulator.validate.reference.machine import CpuMachine, Shape
from simulator.validate.reference.run import ReferenceRun, Settings, TokenLog
from simulator.validate.reference.setup import GPU_SHAPE, Setup
from simulator.validate.reference.simulate import Overhead, decoded, fit_overhead, simulate
from simulator.validate.reference.write import table, validate_reference

SHAPE = Shape(32, 32)  # 12 KiB
L, E, K = 3, 12, 2
NONE = Overhead(0, 0)


def a_trace(n: int = 40, *, predictions: bool = True, weights: bool = True) -> Trace:
    """Return prompt and decoded tokens whose predictions are right half of the time."""
    rng = np.random.default_rng(4)
    experts = rng.random((n, L, E)).argsort(axis=2)[:, :, :K].astype(np.int16)
    predicted = np.full_like(experts, -1)
    predicted[:, :-1] = experts[:, 1:]
    wrong = rng.random((n, L)) < 0.5
    wrong[:, -1] = False
    predicted[wrong] = (predicted[wrong] + 1) % E
    header = TraceHeader(
        model="tiny",
        n_layers=L,
        n_experts=E,
        top_k=K,
        moe_layers=(0, 1, 2),
        n_model_layers=L,
        recorder="test",
    )
    return Trace(
        header=header,
        sequence=np.zeros(n, dtype=np.int32),
        position=np.arange(n, dtype=np.int32),
        phase=(np.arange(n) >= 5).astype(np.uint8),
        experts=experts,
        predicted=(predicted,) if predictions else (),
        predicted_weights=(rng.random(experts.shape).astype(np.float32),) if predictions and weights else (),
    )


def dry(trace: Trace, settings: Settings) -> ReferenceRun:
    machine = CpuMachine(-1, SHAPE, L, L * E)
    return ReferenceRun(trace, machine, settings, machine.memory(settings.slots), dry=True)


def words(page: str) -> str:
    """Return a page as one line."""
    return " ".join(page.split())


# -- the cache -----------------------------------------------------------------------------------------


def test_the_least_recently_used_goes() -> None:
    cache = ExpertCache(2)
    assert cache.take(1, spare=False) == 0
    assert cache.take(2, spare=False) == 1
    cache.flying.clear()
    cache.use([1, 7])  # 7 is not there
    assert cache.take(3, spare=False) == 1
    assert set(cache.slot) == {1, 3}


def test_who_is_pinned_in_flight_or_shielded_stays() -> None:
    cache = ExpertCache(3)
    for key in (1, 2, 3):
        cache.take(key, spare=False)
    cache.flying = {2}
    cache.pinned = frozenset({1})
    cache.shields = {3: 9}
    assert cache.take(4, spare=True) is None
    assert cache.take(4, spare=False) == 2  # shielded experts go where nobody else can
    assert cache.take(5, spare=False) is None


# -- the run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [6, 12, 24, 36])
def test_hits_are_those_of_the_simulator(slots: int) -> None:
    trace = decoded(a_trace(200), SHAPE, 1000)
    settings = Settings(slots, 2, prefetch=False)
    logs = dry(trace, settings).run()
    records = simulate(trace, SHAPE, settings, load_hardware("oneplus-15r"), NONE)
    assert [log.hits for log in logs] == [record.hits for record in records]
    assert [log.bytes for log in logs] == [record.demand_bytes for record in records]
    assert all(log.lookups == L * K and log.late == 0 for log in logs)


@pytest.mark.parametrize("weights", [True, False])
def test_a_run_that_prefetches_serves_every_expert(*, weights: bool) -> None:
    trace = decoded(a_trace(200, weights=weights), SHAPE, 1000)
    logs = dry(trace, Settings(8, 2, prefetch=True)).run()
    on_demand = dry(trace, Settings(8, 2, prefetch=False)).run()
    assert sum(log.hits + log.late for log in logs) > sum(log.hits for log in on_demand)
    assert all(log.hits + log.late <= log.lookups == L * K for log in logs)
    assert all(log.wall_ns >= log.dense_ns + log.expert_ns + log.stall_ns for log in logs)


def test_a_prefetch_that_finds_no_space_is_dropped() -> None:
    trace = decoded(a_trace(), SHAPE, 10)
    run = dry(trace, Settings(4, 1, prefetch=True))
    run.cache.pinned = frozenset(range(4))
    for key in range(4):
        run.cache.take(key, spare=False)
    assert run._begin(9) is None
    assert run.prefetched_bytes == 0


def test_wishes_are_the_next_layers_likeliest_first() -> None:
    trace = decoded(a_trace(), SHAPE, 10)
    predicted = trace.predicted[0].copy()
    predicted[0, 0] = (7, -1)
    run = dry(replace(trace, predicted=(predicted,)), Settings(6, 1, prefetch=True))
    assert [read.key for read in run._wishes(0, 0, 0)] == [E + 7]  # -1: nothing was predicted
    both = trace.predicted[0][1, 0][np.argsort(-trace.predicted_weights[0][1, 0])]
    assert [read.key for read in run._wishes(1, 0, 3)] == (E + both).tolist()
    assert run.cache.shields[E + int(both[0])] == 4
    assert list(run._wishes(1, L - 1, 5)) == []


def test_reads_move_the_bytes_of_the_right_expert(tmp_path: Path) -> None:
    """Every expert in the cache at the end has the bytes that lie at its place in the file."""
    trace = decoded(a_trace(), SHAPE, 20)
    path = tmp_path / "experts"
    rng = np.random.default_rng(0)
    experts = (rng.random((L * E, 3, 32, 32), dtype=np.float32) / 1024).astype(np.float32)
    path.write_bytes(experts.tobytes())
    with path.open("rb") as file:
        machine = CpuMachine(file.fileno(), SHAPE, L, L * E)
        memory = machine.memory(10)
        run = ReferenceRun(trace, machine, Settings(10, 2, prefetch=True), memory)
        calls: list[int] = []
        logs = run.run(calls.append)
    assert calls == list(range(20))
    landed = set(run.cache.slot) - run.cache.flying
    assert len(landed) >= 8
    for key in landed:
        assert np.array_equal(memory.weights[run.cache.slot[key]], experts[key])
    assert sum(log.bytes for log in logs) % SHAPE.expert_bytes == 0


# -- what is worked out --------------------------------------------------------------------------------


def test_the_overhead_is_found_again() -> None:
    logs = [
        TokenLog(wall_ns=1000 + 50 * misses + 7, dense_ns=7, lookups=20, hits=20 - misses)
        for misses in range(9)
    ]
    assert fit_overhead(logs) == Overhead(1000, 50)


def test_tokens_with_many_misses_are_kept_and_interrupted_ones_are_not() -> None:
    """Left out is what lies high above the line, not what is high up on it."""
    rng = np.random.default_rng(0)
    logs = []
    for i in range(2000):
        misses = 19 if i % 10 == 0 else int(rng.integers(0, 4))  # few tokens say what a miss costs
        wall = 10_000 + 50 * misses + int(rng.normal(0, 200)) + (20_000 if i % 50 == 3 else 0)
        logs.append(TokenLog(wall_ns=wall, lookups=20, hits=20 - misses))
    found = fit_overhead(logs)
    assert found.per_miss == pytest.approx(50, rel=0.1)
    assert found.per_pass == pytest.approx(10_000, rel=0.01)


def test_an_overhead_that_falls_with_misses_is_one_of_passes() -> None:
    logs = [TokenLog(wall_ns=1000 - 50 * misses, lookups=20, hits=20 - misses) for misses in range(9)]
    assert fit_overhead(logs) == Overhead(800, 0)


def test_decoded_takes_whole_decoded_tokens_and_the_sizes_of_the_stand_in() -> None:
    trace = a_trace(12)
    trace.experts[7, 1] = -1
    found = decoded(trace, SHAPE, 4)
    assert found.position.tolist() == [5, 6, 8, 9]
    assert found.header.expert_bytes == (12 * 1024,) * L
    assert found.header.dense_bytes == (16 * 1024,) * L
    assert found.predicted[0].shape == (4, L, K)


def test_the_simulated_time_is_that_of_the_profile() -> None:
    """One token, all misses, two lanes: worked by hand from the profile's own numbers."""
    trace = decoded(a_trace(), SHAPE, 1)
    hardware = load_hardware("oneplus-15r")
    (record,) = simulate(trace, SHAPE, Settings(36, 1, prefetch=False), hardware, Overhead(1000, 10))
    assert record.hits == 0
    assert record.overhead_ns == 1000 + 10 * L * K
    assert record.expert_ns == L * K * -(-SHAPE.expert_bytes * 10**9 // 12_193_600_000)
    one = (SHAPE.expert_bytes + 4096) / 0.8 + SHAPE.expert_bytes / 4.76
    assert sum(record.stall_ns) + record.expert_ns * (K - 1) / K == pytest.approx(L * K * one, rel=0.1)


def made_up(wall: tuple[int, int], hits: tuple[int, int] = (3, 3)) -> pd.DataFrame:
    logs = [
        TokenLog(wall_ns=n, dense_ns=10, lookups=6, hits=h) for n, h in zip((100, 200), (3, 3), strict=True)
    ]
    records = [
        Record(50, end_ns=50 + n, dense_ns=9, stall_ns=[4, 5], lookups=6, hits=h)
        for n, h in zip(wall, hits, strict=True)
    ]
    return table(logs, records)


def test_errors_are_those_of_wall_time() -> None:
    row = write._row("cache 50%, on demand", made_up((110, 160)))
    assert row["median"] == pytest.approx(0.15)
    assert row["bias"] == pytest.approx(-0.1)
    assert row["hits_identical"]
    assert made_up((110, 160))["predicted_stall_ns"].tolist() == [9, 9]
    assert made_up((110, 160))["measured_overhead_ns"].tolist() == [90, 190]


@pytest.mark.parametrize(
    ("wall", "hits", "says"),
    [
        ((100, 200), (3, 3), "within"),
        ((130, 260), (3, 3), "median above 15%; total off by more than 10%"),
        ((100, 200), (3, 4), "hits differ"),
    ],
)
def test_the_page_says_where_a_run_misses(wall: tuple[int, int], hits: tuple[int, int], says: str) -> None:
    title = "cache 50%, on demand"
    found = made_up(wall, hits)
    given = Setup(Path(), a_trace(), profile=load_hardware("oneplus-15r"))
    page = report.page([write._row(title, found)], {title: found}, given, a_trace())
    assert f"| {says} |" in page
    assert "the profile oneplus-15r" in words(page)
    assert "reads fp32 experts of 1.50 MiB with O_DIRECT" in words(page)


def test_the_page_counts_the_runs_that_are_within() -> None:
    walls = {"a": (100, 200), "b": (112, 224), "c": (130, 260)}
    tables = {title: made_up(wall) for title, wall in walls.items()}
    rows = [write._row(title, found) for title, found in tables.items()]
    page = report.page(rows, tables, Setup(Path(), a_trace()), a_trace())
    assert "1 of 3 runs within 15% median and 10% total; median of medians 12.0%, worst 30.0%." in page


def test_a_run_whose_hits_differ_is_not_within() -> None:
    title, found = "cache 50%, on demand", made_up((100, 200), (3, 4))
    page = report.page([write._row(title, found)], {title: found}, Setup(Path(), a_trace()), a_trace())
    assert "0 of 1 runs within" in page


def test_the_page_says_what_was_calibrated_when_and_on_what() -> None:
    title, found = "cache 50%, on demand", made_up((100, 200))
    rows, tables = [write._row(title, found)], {title: found}
    fresh = report.page(rows, tables, Setup(Path(), a_trace()), a_trace())
    mine = load_hardware("oneplus-15r").model_copy(
        update={"name": "mine", "notes": "Measured by moesim calibrate on 2026-01-02 (moesim 1)."}
    )
    given = report.page(rows, tables, Setup(Path(), a_trace(), profile=mine, repeats=5), a_trace())
    assert fresh.splitlines()[0] == "## Reference run: a drive and a CPU, calibrated within the run"
    assert (
        given.splitlines()[0] == "## Reference run: a drive and a CPU, profile mine, measured on 2026-01-02"
    )
    assert "came out 17 to 22 % too slow" in words(fresh)
    assert "17 to 22" not in given
    assert "`moesim validate reference --profile mine --repeats 5` of moesim" in words(given)
    for page in (fresh, given):
        system = this_system()
        assert f"on {datetime.now(UTC):%Y-%m-%d}, on {system.processor}" in words(page)
        assert system.kind in words(page)
        assert "computes, but moves nothing" in words(page)


def test_errors_of_labels_are_told_apart_before_they_cancel() -> None:
    """Dense 9 of 10 in each; 9 ns of stall, and 0 of overhead where 90 and 190 were."""
    tables = {"a": made_up((110, 160)), "b": made_up((110, 160))}
    tables["b"]["predicted_dense_ns"] = 12
    tables["b"]["predicted_overhead_ns"] = tables["b"]["measured_overhead_ns"] + 42
    text = "\n".join(label_lines(tables))
    # dense: -10 % and +20 %; overhead: -100 % and 84 of 280 = +30 %
    assert "| dense | 6.7% | +5.0% | 1 of 2 |" in text
    assert "| overhead | 93.3% | -35.0% | 1 of 2 |" in text
    assert "| experts | 0.0% | +0.0% | 0 of 2 |" in text
    # of 300 ns of wall: a 2 + 18 + 280 = 100 %, b 4 + 18 + 84 = 35.3 %; the totals are 30 off in both
    assert "add up to 67.7% of wall time in the median run (100.0% in the worst)" in words(text)
    assert "totals are off by 10.0% (10.0%)" in words(text)


def test_repeats_alternate_between_the_settings() -> None:
    once = list(Setup(Path(), a_trace(), sizes=(0.25, 0.5)).runs())
    assert once[1] == ("cache 25%, prefetch", "cache-25-prefetch", Settings(9, 2, prefetch=True))
    thrice = list(Setup(Path(), a_trace(), sizes=(0.25, 0.5), repeats=3).runs())
    assert [title for title, _, _ in thrice[:5]] == [
        "cache 25%, on demand #1",
        "cache 25%, prefetch #1",
        "cache 50%, on demand #1",
        "cache 50%, prefetch #1",
        "cache 25%, on demand #2",
    ]
    assert thrice[4][1] == "cache-25-on-demand-2"
    assert [s for _, _, s in thrice] == [s for _, _, s in once] * 3


# -- the command ---------------------------------------------------------------------------------------


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    folder = tmp_path / "drive"
    folder.mkdir()
    try:
        with scratch_file(folder, 4096):
            pass
    except InputError as error:
        pytest.skip(f"the folder of temporary files cannot be measured: {error}")
    tiny = replace(
        measure_module.QUICK, file_bytes=1 << 20, reads=1, dram_bytes=1 << 20, expert_bytes=1 << 20, repeats=1
    )
    monkeypatch.setattr(reference_setup, "QUICK", tiny)
    monkeypatch.setattr("simulator.calibrate.contention.BUDGET", 1 << 20)
    monkeypatch.setattr("simulator.validate.reference.probe.BEYOND_CACHES", 1 << 20)
    return Setup(folder, a_trace(), sizes=(0.2, 0.5), tokens=12, shape=SHAPE)


def test_it_runs_calibrates_simulates_and_compares(setup: Setup, tmp_path: Path) -> None:
    said: list[str] = []
    page = validate_reference(tmp_path / "out", setup, say=said.append)
    assert said[0] == "calibrating"
    assert said[1:] == [
        "cache 20%, on demand",
        "cache 20%, prefetch",
        "cache 50%, on demand",
        "cache 50%, prefetch",
    ]
    rows = pd.read_csv(tmp_path / "out" / "accuracy.csv")
    assert set(rows["run"]) == set(said[1:])
    assert rows["median"].is_monotonic_decreasing
    assert rows.set_index("run").loc[[s for s in said if "demand" in s], "hits_identical"].all()
    tokens = pd.read_csv(tmp_path / "out" / "tokens.csv")
    assert (tokens.groupby("run").size() == 12).all()
    made = load_hardware(str(tmp_path / "out" / "cache-20-on-demand.yaml"))
    assert made.links["ssd_to_cpu"].table is not None
    assert {row.lanes for row in made.links["ssd_to_cpu"].table.value} == {1, 2}
    assert (tmp_path / "out" / "validation-reference.md").read_text() == page
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["runs"] == said[1:]
    assert list(setup.folder.iterdir()) == []
    with pytest.raises(InputError, match="--force"):
        validate_reference(tmp_path / "out", setup)


def test_a_repeated_validation_keeps_every_run(setup: Setup, tmp_path: Path) -> None:
    validate_reference(tmp_path / "out", replace(setup, sizes=(0.5,), repeats=2))
    rows = pd.read_csv(tmp_path / "out" / "accuracy.csv")
    assert sorted(rows["run"]) == [
        f"cache 50%, {how} #{i}" for how in ("on demand", "prefetch") for i in (1, 2)
    ]
    names = {path.name for path in (tmp_path / "out").glob("*.yaml")}
    assert names == {f"cache-50-{how}-{i}.yaml" for how in ("on-demand", "prefetch") for i in (1, 2)}


def measured_on(threads: int) -> HardwareProfile:
    profile = load_hardware("oneplus-15r")
    unit = profile.main_unit
    source = f"{NUMPY.format(threads)}, weights beyond the caches"
    rate = unit.memory_bandwidth.model_copy(update={"source": source})
    cpu = unit.model_copy(update={"memory_bandwidth": rate})
    return profile.model_copy(update={"compute": profile.compute.model_copy(update={"cpu": cpu})})


def test_a_profile_of_more_threads_than_the_run_has_is_refused(setup: Setup) -> None:
    replace(setup, profile=measured_on(1)).check()
    with pytest.raises(InputError, match=r"measured on 2 threads, and the run computes on 1; .*--threads 1"):
        replace(setup, profile=measured_on(2)).check()


def test_sizes_that_are_close_are_two_runs_and_equal_ones_are_refused(setup: Setup) -> None:
    close = replace(setup, sizes=(1, 0.251, 0.25))
    close.check()
    titles = [title for title, _, _ in close.runs()]
    assert len(set(titles)) == 6
    assert titles[2] == "cache 25.1%, on demand"
    with pytest.raises(InputError, match="--sizes: 25% of all experts is there twice"):
        replace(setup, sizes=(0.25, 1, 0.25)).check()


def test_a_given_profile_is_not_calibrated(setup: Setup, tmp_path: Path) -> None:
    given = replace(setup, profile=load_hardware("oneplus-15r"), sizes=(0.5,), lanes=1)
    page = validate_reference(tmp_path / "out", given)
    assert "the profile oneplus-15r" in words(page)


def test_one_lane_is_calibrated_with_one(setup: Setup, tmp_path: Path) -> None:
    assert replace(setup, lanes=1).plan().lanes == (1,)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trace": a_trace(predictions=False)}, "no recorded predictions"),
        ({"sizes": (0.05,)}, "from 0.111"),
        ({"sizes": (1.5,)}, "to 1"),
        ({"profile": load_hardware("rtx4090-pcie4")}, "does not compute on a CPU"),
        ({"shape": Shape(1 << 16, 1 << 16)}, "memory are not free"),
        ({"trace": a_trace(5)}, "no decoded tokens"),
        ({"folder": Path("none")}, "no such folder"),
    ],
)
def test_what_cannot_be_run_is_refused(
    setup: Setup, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        validate_reference(tmp_path / "out", replace(setup, **change))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("gpu", [False, True])
def test_the_command_prints_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, gpu: bool) -> None:
    seen: list[Setup] = []
    device = object()

    def fake(out: Path, setup: Setup, *, force: bool, say: object) -> str:
        seen.append(setup)
        say("calibrating")
        return "the page"

    monkeypatch.setattr(write, "validate_reference", fake)
    monkeypatch.setattr("simulator.calibrate.device.cuda_device", lambda: device)
    profile = "rtx4090-pcie4" if gpu else "oneplus-15r"
    args = ["-o", str(tmp_path / "out"), "--sizes", "0.3", "--profile", profile, "--repeats", "5"]
    done = CliRunner().invoke(
        app, ["validate", "reference", *args, *(["--gpu"] if gpu else [])], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "the page" in done.stdout
    (setup,) = seen
    assert setup.sizes == (0.3,)
    assert setup.repeats == 5
    assert setup.profile == load_hardware(profile)
    assert setup.shape == (GPU_SHAPE if gpu else reference_setup.SHAPE)
    assert setup.gpu is (device if gpu else None)


def test_a_read_that_landed_while_something_was_computed_took_as_long_as_it_took() -> None:
    from simulator.validate.reference.probe import Probe

    machine = CpuMachine(-1, SHAPE, L, 8)
    machine.move = lambda *_: None
    with Probe(machine, 1) as probe:

        def compute(_: int | None) -> None:
            time.sleep(0.2)

        assert probe._round(probe.readers[1], 4096, 1, compute) < 0.2


def test_a_probe_leaves_no_thread(tmp_path: Path) -> None:
    """Its threads are its own: after it is closed none is left."""
    from simulator.validate.reference.probe import Probe

    path = tmp_path / "experts"
    path.write_bytes(bytes(8 * SHAPE.expert_bytes))
    with path.open("rb") as file, Probe(CpuMachine(file.fileno(), SHAPE, L, 8), 2) as probe:
        for _ in range(3):
            probe()
        assert {n: len(times) for n, times in probe.busy.items()} == {1: 3, 2: 3}
        assert len(probe.alone) == 3
        assert set(probe.experts) == {SHAPE.expert_bytes, SHAPE.expert_bytes // 2}
        readers: list[Readers] = list(probe.readers.values())
    assert not any(thread.is_alive() for r in readers for thread in r.threads)


# -- from host memory to a GPU, on PyTorch's CPU -----------------------------------------------------------

HALF = Shape(32, 32, 2)  # 6 KiB


@pytest.fixture
def torch_device(monkeypatch: pytest.MonkeyPatch) -> Device:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tiny = replace(measure_module.QUICK, dram_bytes=1 << 20, expert_bytes=1 << 20, repeats=1)
    monkeypatch.setattr(reference_setup, "QUICK", tiny)
    monkeypatch.setattr(reference_setup, "BESIDE", 1 << 20)
    monkeypatch.setattr("simulator.calibrate.measure.MANY", 4)
    monkeypatch.setattr("simulator.validate.reference.probe.BEYOND_CACHES", 1 << 20)
    for name, value in {"BEYOND_CACHES": 1 << 20, "IN_A_ROW": 1 << 20, "WARM_S": 0.0}.items():
        monkeypatch.setattr(bench_module, name, value)
    monkeypatch.setattr(gpu_module, "NEEDED", 1 << 20)
    monkeypatch.setattr(gpu_module, "COPIES", (4096, 65536))
    return Device(torch, "cpu")


@pytest.mark.parametrize("pool", [1 << 30, 10 * HALF.expert_bytes])
def test_copies_move_the_bytes_of_the_right_expert(
    torch_device: Device, monkeypatch: pytest.MonkeyPatch, pool: int
) -> None:
    """Every expert in the cache at the end has the bytes of its place in host memory, shared or not."""
    monkeypatch.setattr(gpu_machine, "POOL_BYTES", pool)
    machine = GpuMachine(torch_device, HALF, L, L * E, 2)
    assert machine.places == min(L * E, pool // HALF.expert_bytes)
    machine.host[:] = torch_device.torch.randint(0, 60, machine.host.shape)  # finite as float16
    memory = machine.memory(10)
    trace = decoded(a_trace(), HALF, 20)
    run = ReferenceRun(trace, machine, Settings(10, 2, prefetch=True), memory)
    run.run()
    landed = set(run.cache.slot) - run.cache.flying
    assert len(landed) >= 8
    stored = machine.host.view(machine.places, -1)
    for key in landed:
        assert torch_device.torch.equal(memory.slots[run.cache.slot[key]], stored[key % machine.places])
    slot = run.cache.slot[min(landed)]
    assert memory.weights[slot].view(-1).view(torch_device.torch.uint8).equal(memory.slots[slot])


def test_hits_on_a_gpu_are_those_of_the_simulator(torch_device: Device) -> None:
    trace = decoded(a_trace(200), HALF, 1000)
    settings = Settings(12, 2, prefetch=False)
    machine = GpuMachine(torch_device, HALF, L, L * E, 2)
    logs = ReferenceRun(trace, machine, settings, machine.memory(12)).run()
    records = simulate(trace, HALF, settings, load_hardware("rtx4090-pcie4"), NONE)
    assert [log.hits for log in logs] == [record.hits for record in records]
    assert all(log.expert_ns > 0 and log.dense_ns > 0 for log in logs)


def test_lanes_use_streams_of_their_own_and_wait_for_them(
    torch_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CPU can show of CUDA: each copy is given to its lane's stream, and that one is waited for."""
    said: list[str] = []

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def synchronize(self) -> None:
            said.append(f"wait {self.name}")

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        said.append(f"on {stream.name}")
        yield

    monkeypatch.setattr(torch_device, "streams", lambda n: [Stream(str(i)) for i in range(n)])
    monkeypatch.setattr(torch_device, "on", on)
    monkeypatch.setattr(torch_device, "wait_compute", lambda: said.append("wait compute"))
    machine = GpuMachine(torch_device, HALF, L, L * E, 2)
    memory = machine.memory(2)
    machine.move(1, Read(0, 0, memory.slots[0]))
    machine.expert(memory.weights[0])
    machine.dense(0)
    machine.move(0, Read(0, 0, memory.slots[1][:64]))
    assert said == ["on 1", "wait 1", "wait compute", "wait compute", "on 0", "wait 0"]


def test_dense_work_stays_finite(torch_device: Device) -> None:
    machine = GpuMachine(torch_device, HALF, L, L * E, 1)
    for _ in range(100):
        machine.dense(1)
    assert torch_device.torch.isfinite(machine.x).all()
    assert machine.x.abs().max() == 1


def test_the_gpu_variant_runs_calibrates_simulates_and_compares(torch_device: Device, tmp_path: Path) -> None:
    setup = Setup(tmp_path / "none", a_trace(), sizes=(0.2, 0.5), tokens=12, shape=HALF, gpu=torch_device)
    page = validate_reference(tmp_path / "out", setup)
    assert "## Reference run: host memory and a GPU" in page
    assert "copies fp16 experts of 6.00 KiB from pinned memory by 2 threads" in words(page)
    assert "PyTorch's CPU (no GPU)" in words(page)
    assert "4 runs within 10% median and 5% total" in page
    rows = pd.read_csv(tmp_path / "out" / "accuracy.csv").set_index("run")
    assert rows.loc[["cache 20%, on demand", "cache 50%, on demand"], "hits_identical"].all()
    made = load_hardware(str(tmp_path / "out" / "cache-20-on-demand.yaml"))
    assert made.main == "gpu"
    assert made.tiers.names == ("gpu", "cpu")
    table = made.links["cpu_to_gpu"].table
    assert table is not None
    assert {(row.block, row.lanes) for row in table.value} == {(HALF.expert_bytes, 1), (HALF.expert_bytes, 2)}
    again = replace(setup, profile=made, lanes=1, sizes=(0.5,))
    assert "the profile cache-20-on-demand" in words(validate_reference(tmp_path / "given", again))


def test_the_page_says_that_experts_share_host_memory(
    torch_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intro, "POOL_BYTES", 10 * HALF.expert_bytes)
    title, found = "cache 50%, on demand", made_up((112, 224))
    setup = Setup(Path(), a_trace(), shape=HALF, gpu=torch_device)
    page = report.page([write._row(title, found)], {title: found}, setup, a_trace())
    assert "pinned memory (36 share 10 places)" in words(page)
    assert "| median above 10%; total off by more than 5% |" in page


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"profile": load_hardware("oneplus-15r")}, "does not compute on a GPU"),
        ({"shape": Shape(1 << 16, 1 << 16, 2)}, "--trace: .* of memory are not free"),
        ({}, "--sizes: 162.00 KiB and 1.00 MiB besides are not free on the GPU"),
    ],
)
def test_what_cannot_be_run_on_a_gpu_is_refused(
    torch_device: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    says: str,
) -> None:
    monkeypatch.setattr(torch_device, "memory", lambda: (1 << 20, 1 << 30))
    setup = Setup(Path(), a_trace(), shape=HALF, gpu=torch_device)
    with pytest.raises(InputError, match=says):
        validate_reference(tmp_path / "out", replace(setup, **change))
    assert not (tmp_path / "out").exists()


def test_an_error_of_the_device_is_raised_and_not_waited_for(torch_device: Device) -> None:
    machine = GpuMachine(torch_device, HALF, L, L * E, 1)
    memory = machine.memory(4)
    with Readers(machine.move, 1) as readers:
        with readers.lock:
            readers.demand.append(Read(0, machine.host.numel() - 8, memory.slots[0]))  # beyond the end
            readers.lock.notify()
        with pytest.raises(RuntimeError):
            readers.wait()


def test_a_gpu_runs_the_reference(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    setup = Setup(tmp_path, a_trace(), sizes=(0.5,), shape=GPU_SHAPE, gpu=cuda_device())
    page = validate_reference(tmp_path / "out", setup)
    rows = pd.read_csv(tmp_path / "out" / "accuracy.csv").set_index("run")
    assert rows.loc["cache 50%, on demand", "hits_identical"]
    assert "host memory and a GPU" in page
