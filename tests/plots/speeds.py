"""Made-up results for figures of speed, hits and latency."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulator.plots import FIGURES, draw

GIB = 1 << 30
LONG = tuple(f"a-system-with-a-long-name-{'predictive-' * (i % 3)}{i}" for i in range(12))
OWN = ("tokens-per-second", "hit-rate", "latency-breakdown", "speed-up", "latency-cdf")
STALLS = ("stall_cpu_to_gpu_ms_per_token", "stall_ssd_to_cpu_ms_per_token")


def summary(
    systems: Sequence[str] = ("lru",),
    sizes_gib: Sequence[float] = (4,),
    models: Sequence[str] = ("mixtral-8x7b",),
    machines: Sequence[str] = ("rtx4090-pcie4",),
    seeds: Sequence[int] = (0,),
    bounds: int = 1,
    **swept: object,
) -> pd.DataFrame:
    """Return a summary with one run for each combination; figures of a run follow from its place.

    ``bounds`` is how many different bounds the systems have; 0 leaves them empty.
    """
    rows = []
    runs = product(models, machines, enumerate(systems), sizes_gib, seeds)
    for n, (model, machine, (which, system), size, seed) in enumerate(runs):
        stall = 20.0 - n / 100
        rows.append(
            {
                "run": n,
                "experiment": "test",
                "system": system,
                "model": model,
                "hardware": machine,
                "software": "ideal",
                "trace": f"{model}-trace",
                "seed": seed,
                "gpu_expert_cache_bytes": int(size * GIB),
                "cpu_expert_cache_bytes": np.nan,
                **swept,
                "tokens_per_second": 10.0 + n,
                "hit_rate": 0.5 + n / 1000,
                "late_rate": 0.1 if which == 1 else 0.0,
                "dense_ms_per_token": 2.0,
                "expert_compute_ms_per_token": 3.0,
                "cpu_expert_wait_ms_per_token": 0.0,
                "stall_ms_per_token": stall,
                STALLS[0]: stall * 0.75,
                STALLS[1]: stall * 0.25,
                "overhead_ms_per_token": 0.5,
                "host_ms_per_token": 0.0,
                "token_cycle_bytes": 2.5 * GIB,
                "belady_hit_rate": 0.9 + which % bounds / 100 if bounds else np.nan,
            }
        )
    return pd.DataFrame(rows)


def tokens(frame: pd.DataFrame, fold: int = 30) -> pd.DataFrame:
    """Return the tokens of a summary's runs: four sequences of a prompt and 12 decoded tokens each.

    The slowest token takes ``fold`` times the fastest.
    """
    generator = np.random.default_rng(0)
    rows = []
    for run in frame["run"]:
        now = 0
        ms = np.geomspace(2, 2 * fold, 48) * (1 + run % 7 / 7) * generator.uniform(0.9, 1.1, 48)
        for at in range(52):
            decoded = at % 13 > 0
            ns = int(1e6 * ms[at - at // 13 - 1]) if decoded else 10**9
            rows.append(
                {
                    "run": run,
                    "pass": at,
                    "sequence": at // 13,
                    "phase": "decode" if decoded else "prefill",
                    "tokens": 1 if decoded else 100,
                    "start_ns": now,
                    "latency_ns": ns,
                    "lookups": 10,
                    "hits": 5,
                }
            )
            now += ns
    return pd.DataFrame(rows)


def results(folder: Path, frame: pd.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "summary.csv", index=False)
    tokens(frame).to_parquet(folder / "tokens.parquet")
    return folder


def plotted(name: str, frame: pd.DataFrame) -> tuple[Any, pd.DataFrame]:
    return FIGURES[name].plot(frame, *([tokens(frame)] if FIGURES[name].tables else []))


def shown(folder: Path, name: str) -> pd.DataFrame:
    draw([name], folder)
    return pd.read_csv(folder / "figures" / f"{name}.csv")


CASES: dict[str, dict[str, Any]] = {
    "one run": {},
    "systems by size": {"systems": ("lru", "lfu", "hobbit"), "sizes_gib": (4, 8, 12, 16)},
    "two models": {"systems": ("lru", "lfu"), "sizes_gib": (4, 8), "models": ("mixtral-8x7b", "olmoe-1b-7b")},
    "two models at one size": {"systems": ("lru", "lfu"), "models": ("mixtral-8x7b", "olmoe-1b-7b")},
    "long names": {"systems": LONG},
    "many bars": {"systems": LONG, "sizes_gib": (1, 2, 4, 8, 12, 16), "bounds": 5},
    "many panels": {"systems": LONG, "sizes_gib": (1, 2, 4, 8), "models": ("a", "b"), "machines": ("c", "d")},
    "many sizes": {"systems": LONG[:7], "sizes_gib": range(1, 15), "bounds": 3},
    "small sizes": {"systems": LONG[:2], "sizes_gib": (0.1, 0.2)},
    "seeds": {"systems": ("random", "lru"), "sizes_gib": (4, 8), "seeds": (0, 1, 2)},
    "six sizes of two models": {
        "systems": ("lru", "lfu", "hobbit", "moe-infinity"),
        "sizes_gib": (1, 2, 4, 8, 16, 32),
        "models": ("mixtral-8x7b", "olmoe-1b-7b"),
        "bounds": 2,
    },
    "no bound": {"systems": ("lru", "lfu"), "sizes_gib": (4, 8), "bounds": 0},
}
