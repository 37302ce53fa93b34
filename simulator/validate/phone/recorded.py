"""A recorded run of BigMoeOnEdge: its routing, and what each decoded token took."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from simulator.assemble.costs import UNTOLD_TENSORS
from simulator.errors import InputError
from simulator.files import check_source
from simulator.trace.core import Trace
from simulator.trace.importers.expert_tensors import find_tensors
from simulator.trace.importers.registry import import_trace
from simulator.trace.parquet import read_trace
from simulator.validate.accuracy import Floats

TIMES = ("wall_ms", "compute_ms", "stall_ms", "mgmt_ms", "io_ms")
COLUMNS = ("step", *TIMES, "read_bytes", "majflt")
ABOVE_ZERO = ("wall_ms", "compute_ms")
BYTES_TOLERANCE = 0.02  # by token; alignment of reads makes 0.1 and 0.4 % in the two published runs
BUDGET = re.compile(r"^#.*\bcache_budget_MiB=([0-9]+(?:\.[0-9]+)?)", re.MULTILINE)
MOST_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class PhoneRun:
    """What was recorded; the columns of the metrics file, each [decoded tokens].

    ``cache_bytes`` is the budget of the engine's cache, ``about_tensors`` says what is known of an expert's.
    """

    name: str
    trace: Trace
    cache_bytes: int
    columns: dict[str, Floats]
    about_tensors: str

    def __len__(self) -> int:
        """Return how many decoded tokens there are."""
        return len(self.columns["wall_ms"])

    def first(self, n: int) -> PhoneRun:
        """Return the run as if it had ended after ``n`` decoded tokens."""
        return replace(self, columns={name: values[:n] for name, values in self.columns.items()})


def read_recorded(trace_path: Path, metrics_path: Path) -> PhoneRun:
    """Read a route CSV (or the trace imported from it) and the metrics CSV of the same run.

    Errors: InputError (a file is absent or is something else, or the two are not of one run).
    """
    if not trace_path.is_file():
        raise InputError(str(trace_path), "no such file", "the route CSV of a run, or the trace made from it")
    trace = read_trace(trace_path) if trace_path.suffix == ".parquet" else import_trace(trace_path, "bigmoe")
    cache_bytes, columns = _metrics(metrics_path)
    decoded = int((trace.phase == 1).sum())
    if len(set(trace.sequence.tolist())) != 1 or decoded != len(columns["wall_ms"]):
        raise InputError(
            str(metrics_path),
            f"{len(columns['wall_ms'])} tokens, but {trace_path} has {decoded} decoded ones",
            "trace and metrics of one run of one prompt",
        )
    if not decoded:
        raise InputError(str(metrics_path), "no decoded token", "a run that decoded some")
    _check_bytes(trace, columns["read_bytes"], trace_path, metrics_path)
    tensors, note = find_tensors(trace, columns["read_bytes"].astype(np.int64).tolist())
    if tensors is not None:
        trace = replace(trace, header=trace.header.model_copy(update={"expert_tensor_bytes": tensors}))
    elif trace.header.expert_tensor_bytes is not None:
        note = "the tensors of an expert are those of the trace's header"
    else:
        note += f"; where they move one by one, {UNTOLD_TENSORS} equal ones are assumed"
    name = trace_path.name.removesuffix(".csv").removesuffix(".parquet").removesuffix(".route")
    return PhoneRun(name, trace, cache_bytes, columns, note)


def _check_bytes(trace: Trace, read: Floats, trace_path: Path, metrics_path: Path) -> None:
    """Refuse metrics of which a token did not read what its recorded misses take, give or take 2 %."""
    if trace.recorded_bytes is None:
        raise InputError(
            str(trace_path), "does not say what was read", "a route CSV, or a trace made from it"
        )
    missed = trace.recorded_bytes[trace.phase == 1].sum(axis=(1, 2))
    off = np.flatnonzero(np.abs(missed - read) > BYTES_TOLERANCE * read)
    if len(off):
        token = int(off[0])
        raise InputError(
            str(metrics_path),
            f"token {token + 1} read {read[token]:.0f} bytes, but its misses in {trace_path} "
            f"are {missed[token]} bytes",
            "trace and metrics of one run, without prefetches",
        )


def _metrics(path: Path) -> tuple[int, dict[str, Floats]]:
    """Return the cache's budget in bytes and the columns of a metrics CSV."""
    where = str(path)
    check_source(path, "the metrics CSV of a run")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(
            where, f"{path.stat().st_size} bytes", f"a metrics CSV of at most {MOST_BYTES} bytes"
        )
    try:
        text = path.read_text(encoding="utf-8")
        table = pd.read_csv(path, comment="#")
    except (OSError, ValueError) as error:
        raise InputError(where, f"cannot be read as a CSV: {error}") from None
    if lacking := [name for name in COLUMNS if name not in table]:
        raise InputError(where, f"no column {lacking[0]}", "the metrics CSV of BigMoeOnEdge")
    budget = BUDGET.search(text)
    if budget is None:
        raise InputError(
            where, "no line '# summary ... cache_budget_MiB=...'", "a run with a cache that ended"
        )
    columns: dict[str, Floats] = {}
    for name in COLUMNS:
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        good, wanted = _good(name, values)
        if not good.all():
            row = int(np.argmin(good))
            raise InputError(where, f"{name} is {table[name].iloc[row]} at step {row + 1}", wanted)
        columns[name] = values
    return int(float(budget[1]) * 2**20), columns


def _good(name: str, values: Floats) -> tuple[npt.NDArray[np.bool_], str]:
    """Tell which values a column may have, and what that is in words."""
    if name == "step":
        return values == np.arange(1, len(values) + 1), "steps from 1 on, in order"
    if name in ABOVE_ZERO:
        return np.isfinite(values) & (values > 0), "a number above 0"
    return np.isfinite(values) & (values >= 0), "a number of 0 or more"
