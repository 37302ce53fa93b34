"""``moesim validate reference`` from end to end: what is run, calibrated, kept and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from typer.testing import CliRunner

from simulator.calibrate import measure as measure_module
from simulator.calibrate.device import Device
from simulator.calibrate.marks import NUMPY
from simulator.calibrate.scratch import scratch_file
from simulator.cli import app
from simulator.errors import InputError
from simulator.machine.hardware import HardwareProfile, load_hardware
from simulator.validate.reference import setup as reference_setup
from simulator.validate.reference import write
from simulator.validate.reference.machine import Shape
from simulator.validate.reference.setup import Setup
from simulator.validate.reference.write import validate_reference
from tests.validate.reference.made_up import SHAPE, a_trace, words


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
    device = Device(SimpleNamespace(device=lambda name: SimpleNamespace(type="cuda")), "cuda:0")

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
    assert setup.shape == (Shape(2048, 1408, 2) if gpu else reference_setup.SHAPE)
    assert setup.gpu is (device if gpu else None)
