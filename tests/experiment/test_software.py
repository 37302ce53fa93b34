"""The key ``software``: an experiment's own, else its system's, else ideal; and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from simulator.config.yaml_file import read_yaml
from simulator.errors import InputError
from simulator.experiment import systems
from simulator.experiment.schema import System
from simulator.experiment.sweep import expand
from simulator.experiment.systems import system_label
from simulator.runs.experiment import run_experiment
from tests.command_line import GOOD, experiment, refused
from tests.machine.engine_code import FULL

SMALL = GOOD.replace("{max_sequences: 1}", "{max_sequences: 1, max_decode_tokens: 2}")


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every system name one software."""
    monkeypatch.setattr(
        systems,
        "load_system",
        lambda name, _where: System(name=name, title="t", software="own", policies={"eviction": "lru"}),
    )


def written(folder: Path, text: str) -> Path:
    (folder / "e.yaml").write_text(text)
    return folder / "e.yaml"


@pytest.mark.usefixtures("preset")
@pytest.mark.parametrize(
    ("more", "software"),
    [
        ("", ["ideal"]),
        ("system: hobbit", ["own"]),
        ("system: hobbit\nsoftware: ideal", ["ideal"]),
        ("sweep: {grids: [{system: [hobbit]}, {system: [hobbit], software: [ideal]}]}", ["own", "ideal"]),
        ("system: hobbit\nsweep: {grid: {software: [~, ideal]}}", ["own", "ideal"]),
        ("sweep: {grid: {software: [a, b]}}", ["a", "b"]),
    ],
)
def test_an_experiments_own_software_comes_before_its_systems(
    tmp_path: Path, more: str, software: list[str]
) -> None:
    runs = expand(read_yaml(written(tmp_path, GOOD + more)))
    assert [run.experiment.software or "ideal" for run in runs] == software


@pytest.mark.usefixtures("preset")
def test_other_software_does_not_modify_a_system(tmp_path: Path) -> None:
    (run,) = expand(read_yaml(written(tmp_path, GOOD + "system: hobbit\nsoftware: ideal")))
    assert system_label(run.experiment) == "hobbit"


def test_a_sweep_tells_its_runs_apart(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(FULL))
    path = written(tmp_path, SMALL + "sweep: {grid: {software: [ideal, mine.yaml]}}")
    run_experiment(str(path), ["figures=[latency-breakdown]"], tmp_path / "out")
    found = pd.read_csv(tmp_path / "out" / "summary.csv", keep_default_na=False)
    assert list(found["software"]) == ["ideal", "full"]
    assert list(found["software_measured"]) == ["", "false"]
    assert found["host_ms_per_token"][0] == 0 < found["host_ms_per_token"][1]
    drawn = pd.read_csv(tmp_path / "out" / "figures" / "latency-breakdown.csv")
    assert list(drawn["software"]) == ["ideal", "full"]  # a panel each
    assert "runs_averaged" not in drawn


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("idael", "unknown software profile; did you mean 'ideal'?"),
        ("[ideal]", "software"),
        ("bad.yaml", "bad.yaml:2: copies.call: missing key"),
        ("nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, value: str, said: str) -> None:
    (tmp_path / "bad.yaml").write_text("name: bad\ncopies: {calls: 3}\ntitle: t\n")
    assert said in refused(tmp_path, "run", experiment(tmp_path, SMALL + f"software: {value}\n"))


def test_a_system_of_unknown_software_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        systems, "load_system", lambda name, _where: System(name=name, title="t", software="idaal")
    )
    with pytest.raises(InputError, match="idaal: unknown software profile"):
        run_experiment(str(written(tmp_path, SMALL + "system: hobbit")), [], tmp_path / "out")
