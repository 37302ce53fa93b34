"""Made-up results for figures of misses, prefetches, fidelity, parts, time and experts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from simulator.plots import (
    ablation,
    miss_penalty,
    pareto,
    popularity,
    prefetch_quality,
    residency,
    sensitivity,
    utilisation,
)

GIB = 1 << 30
LONG = tuple(f"a-system-with-a-long-name-{'predictive-' * (i % 3)}{i}" for i in range(12))


def summary(
    systems: Sequence[str] = ("lru",),
    sizes_gib: Sequence[float] = (4,),
    models: Sequence[str] = ("mixtral-8x7b",),
    machines: Sequence[str] = ("rtx4090-pcie4",),
    seeds: Sequence[int] = (0,),
    swept: dict[str, Sequence[object]] | None = None,
) -> pd.DataFrame:
    """Return a summary with a run for each combination; every second system prefetches."""
    keys = list(swept or {})
    rows = []
    runs = product(models, machines, enumerate(systems), sizes_gib, product(*(swept or {}).values()), seeds)
    for n, (model, machine, (which, system), size, values, seed) in enumerate(runs):
        rows.append(
            {
                "run": float(n),
                "experiment": "test",
                "system": system,
                "model": model,
                "hardware": machine,
                "software": "ideal",
                "trace": f"{model}-trace",
                "seed": float(seed),
                "gpu_expert_cache_bytes": size * GIB,
                "cpu_expert_cache_bytes": np.nan,
                **{key: str(value) for key, value in zip(keys, values, strict=True)},
                "tokens_per_second": 10.0 + (7 * n) % 23,
                "late_rate": 0.1 + which / 100,
                "miss_penalty": 0.5 / (1 + which + size),
                "prefetch_accuracy": 0.9 - which / 50 if which % 2 == 0 else np.nan,
                "prefetch_coverage": 0.3 if which % 2 == 0 else np.nan,
                "started_prefetches": 1000.0 * (which % 2 == 0),
                "wasted_bytes": 1e9 * (which % 2 == 0),
                "bytes_ssd_to_cpu": 4e9,
                "bytes_cpu_to_gpu": 6e9,
                "bytes_gpu_to_cpu": 99e9,
                "bytes_ssd_to_gpu": np.nan,
                "gate_mass_high": 0.9,
                "gate_mass_low": which / 100,
                "gate_mass_substituted": 0.01,
                "gate_mass_deferred": 0.05,
                "gate_mass_skipped": 0.0,
            }
        )
    return pd.DataFrame(rows)


def tokens_of(frame: pd.DataFrame, passes: int = 21) -> pd.DataFrame:
    """Return passes of a batch of two: the first prefill, links and compute busy for a part of them."""
    parts = []
    for run in frame["run"].astype(int):
        index = np.arange(passes)
        length = 1_000_000 + 40_000 * ((index * 7 + run) % 11)
        part = {
            "run": run,
            "pass": index,
            "phase": np.where(index % 20 < 3, "prefill", "decode"),
            "start_ns": np.cumsum(length) - length,
            "latency_ns": length,
            "dense_ns": length // 5,
            "expert_compute_ns": length // 7,
            "busy_ssd_to_cpu_ns": length // 3,
            "busy_cpu_to_gpu_ns": length - 17 * index,
            "busy_cpu_ns": 0,
        }
        parts += [pd.DataFrame({**part, "sequence": sequence}) for sequence in (0, 1)]
    return pd.concat(parts, ignore_index=True)


def experts_of(frame: pd.DataFrame, layers: int = 4, experts: int = 16, *, low: bool = True) -> pd.DataFrame:
    """Return experts whose lookups depend on the model alone; every third run has a lower precision."""
    parts = []
    for run, model in zip(frame["run"].astype(int), frame["model"], strict=True):
        layer, expert = (index.ravel() for index in np.indices((layers, experts)))
        lookups = (layer * 5 + expert * 7 + len(model)) % experts
        part = {
            "run": run,
            "layer": layer,
            "expert": expert,
            "lookups": lookups,
            "resident_steps": lookups * 100 // experts,
            "resident_low_steps": (100 - lookups) * (low and run % 3 == 2),
            "steps": 100,
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def steps(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a summary whose systems are variants of one, each adding a part to the one before."""
    rank = frame["system"].map(list(dict.fromkeys(frame["system"])).index)
    at = frame.columns.get_loc("tokens_per_second")
    found = frame.assign(system="hobbit")
    found.insert(at, "policies.base", np.where(rank > 0, "with parts", "plain"))
    for part in range(1, 1 + rank.max()):
        found.insert(at + part, f"policies.part_{part}", np.where(rank >= part, "on", ""))
    return found


Plot = Callable[[pd.DataFrame], tuple[Any, pd.DataFrame]]
FIGURES: dict[str, Plot] = {
    "miss-penalty": miss_penalty.plot,
    "prefetch-quality": prefetch_quality.plot,
    "pareto": pareto.plot,
    "ablation": lambda frame: ablation.plot(steps(frame)),
    "sensitivity": sensitivity.plot,
    "utilisation": lambda frame: utilisation.plot(frame, tokens_of(frame)),
    "residency": lambda frame: residency.plot(frame, experts_of(frame)),
    "popularity": lambda frame: popularity.plot(frame, experts_of(frame)),
}
KEYS: dict[str, Sequence[object]] = {
    "policies.prefetch.depth": (1, 2, 4),
    "runtime.preemption": ("none", "at the next boundary of a chunk"),
}
CASES: dict[str, dict[str, Any]] = {
    "one run": {},
    "two runs": {"systems": ("lru", "hobbit")},
    "systems by size": {"systems": ("lru", "lfu", "hobbit"), "sizes_gib": (4, 8, 12, 16)},
    "many": {"systems": LONG, "sizes_gib": (1, 2, 4, 8, 12, 16)},
    "many at one size": {"systems": LONG},
    "panels": {
        "systems": ("lru", "hobbit"),
        "sizes_gib": (4, 8),
        "models": ("a", "b"),
        "machines": ("c", "d"),
    },
    "panels at one size": {
        "systems": LONG,
        "models": ("a-model-of-a-long-name", "b"),
        "machines": ("c", "d"),
    },
    "long panels": {"systems": LONG[:3], "sizes_gib": (4, 8), "models": LONG[:2], "machines": LONG[2:4]},
    "seeds": {"systems": ("random", "lru"), "sizes_gib": (4, 8), "seeds": (0, 1, 2)},
    "keys": {"systems": ("lru", "hobbit"), "swept": KEYS},
    "keys of many": {"systems": LONG, "sizes_gib": (4, 8), "models": ("a", "b"), "swept": KEYS},
}


def asked(name: str, case: str) -> bool:
    """Return whether a folder of this kind can be asked for the figure."""
    if name in {"sensitivity", "ablation"}:
        return ("swept" in CASES[case]) == (name == "sensitivity") and case != "one run"
    if name in {"utilisation", "residency"} and case in {"systems by size", "many at one size", "seeds"}:
        return False  # twelve panels, as of "many"
    return case != "keys of many"


def drawn(name: str, frame: pd.DataFrame) -> tuple[Any, pd.DataFrame]:
    """Return a figure laid out, and its data."""
    figure, data = FIGURES[name](frame)
    figure.draw_without_rendering()
    return figure, data


def small_print(figure: Any) -> str:
    return figure.legends[-1].get_title().get_text().replace("\n", " ")
