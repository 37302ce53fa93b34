"""The probe that times experts beside reads."""

from __future__ import annotations

import time
from pathlib import Path

from simulator.calibrate.readers import Readers
from simulator.validate.reference.machine import CpuMachine
from tests.validate.reference.made_up import SHAPE, L


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
