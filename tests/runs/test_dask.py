"""A sweep on a Dask cluster: a real scheduler and two real workers on the loopback."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.runs.backends import Backend
from simulator.runs.experiment import HowToRun, run_experiment
from tests.places import ROOT
from tests.runs.sweeps import finished, tables

distributed = pytest.importorskip("distributed", reason="Dask is an extra")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # workers import what runs here
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as running:
        yield running


def test_a_cluster_gives_the_same_bytes(
    cluster: object, experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    how = HowToRun(backend=Backend("dask", scheduler=cluster.scheduler_address))  # type: ignore[attr-defined]
    run_experiment(str(experiment), [], tmp_path / "out", how)
    assert tables(tmp_path / "out") == undisturbed


def test_a_worker_that_is_killed_loses_nothing(
    cluster: object, experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = next(iter(cluster.workers.values()))  # type: ignore[attr-defined]
    pid = first.pid

    def kill() -> None:
        while finished(out) < 2:
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    how = HowToRun(backend=Backend("dask", scheduler=cluster.scheduler_address))  # type: ignore[attr-defined]
    run_experiment(str(experiment), [], out, how)
    killer.join(timeout=1)
    assert not killer.is_alive()
    assert tables(out) == undisturbed


@pytest.mark.parametrize(
    ("scheduler", "says"),
    [
        (None, "--scheduler: missing"),
        ("tcp://127.0.0.1:9", "does not answer"),
        ("nonsense://x", "--scheduler"),
    ],
)
def test_no_cluster_is_said_in_one_line(
    experiment: Path, tmp_path: Path, scheduler: str | None, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        run_experiment(
            str(experiment), [], tmp_path / "out", HowToRun(backend=Backend("dask", scheduler=scheduler))
        )
    assert list(tmp_path.iterdir()) == []
