"""A trace, a run that reads nothing, and logs: what the tests of the reference run are made on.

Times are never asserted; hits are, since a cache that is LRU in both has to hit alike, and so are errors
that are worked out on logs made up here.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from simulator.engine.demand import Record
from simulator.trace.core import Trace, TraceHeader
from simulator.validate.reference.machine import CpuMachine, Shape
from simulator.validate.reference.run import ReferenceRun, Settings, TokenLog
from simulator.validate.reference.simulate import Overhead
from simulator.validate.reference.write import table

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


def made_up(wall: tuple[int, int], hits: tuple[int, int] = (3, 3)) -> pd.DataFrame:
    logs = [
        TokenLog(wall_ns=n, dense_ns=10, lookups=6, hits=h) for n, h in zip((100, 200), (3, 3), strict=True)
    ]
    records = [
        Record(50, end_ns=50 + n, dense_ns=9, stall_ns=[4, 5], lookups=6, hits=h)
        for n, h in zip(wall, hits, strict=True)
    ]
    return table(logs, records)
