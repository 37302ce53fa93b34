"""``moesim validate reference``: run it, calibrate meanwhile, simulate the same, compare token by token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from simulator import __version__
from simulator.calibrate.measure import Measured
from simulator.calibrate.profile import profile as as_profile
from simulator.calibrate.write import write_profile
from simulator.engine.demand import Record
from simulator.errors import InputError
from simulator.machine.hardware import HardwareProfile
from simulator.results.folder import MANIFEST, check_output, fresh_folder
from simulator.trace.core import Trace
from simulator.validate.accuracy import accuracy
from simulator.validate.reference import report
from simulator.validate.reference.machine import Machine
from simulator.validate.reference.probe import Probe
from simulator.validate.reference.run import LOGGED, ReferenceRun, Settings, TokenLog
from simulator.validate.reference.setup import Setup
from simulator.validate.reference.simulate import decoded, fit_overhead, simulate

Say = Callable[[str], None]
EVERY = 2
"""Tokens from one round of calibration to the next."""


def validate_reference(out: Path, setup: Setup, *, force: bool = False, say: Say = lambda _: None) -> str:
    """Write accuracy.csv, tokens.csv, the profiles and validation-reference.md; return the latter's text."""
    digest = hashlib.sha256(datetime.now(UTC).isoformat().encode()).hexdigest()  # no measurement is another
    check_output(out, digest, force=force)
    setup.check()
    trace = decoded(setup.trace, setup.shape, setup.tokens)
    if trace.n_tokens == 0:
        raise InputError("--trace", f"{trace.header.model} has no decoded tokens", "record some")
    before = None
    if setup.profile is None:
        say("calibrating")
        before = setup.calibrate()
    tables: dict[str, pd.DataFrame] = {}
    profiles: dict[str, HardwareProfile] = {}
    with setup.machine() as machine:
        for title, name, settings in setup.runs():
            say(title)
            tables[title], profiles[name] = _compare(setup, trace, settings, machine, before, name)
    rows = [_row(title, table) for title, table in tables.items()]
    rows.sort(key=lambda row: -float(str(row["median"])))
    page = report.page(rows, tables, setup, trace)
    with fresh_folder(out) as folder:
        pd.DataFrame(rows).to_csv(folder / "accuracy.csv", index=False, lineterminator="\n")
        long = pd.concat(table.assign(run=title) for title, table in tables.items())
        long.to_csv(folder / "tokens.csv", index=False, lineterminator="\n")
        for name, hardware in profiles.items():
            write_profile(hardware, folder / f"{name}.yaml")
        (folder / "validation-reference.md").write_text(page, encoding="utf-8")
        manifest = {"moesim_version": __version__, "config_sha256": digest, "runs": list(tables)}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return page


def _compare(
    setup: Setup, trace: Trace, settings: Settings, machine: Machine, before: Measured | None, name: str
) -> tuple[pd.DataFrame, HardwareProfile]:
    """Run and simulate one setting; return what both say of each token, and the profile."""
    memory = machine.memory(settings.slots)
    overhead = fit_overhead(ReferenceRun(trace, machine, settings, memory, dry=True).run())
    run = ReferenceRun(trace, machine, settings, memory)
    if before is None:
        assert setup.profile is not None
        logs, hardware = run.run(), setup.profile
    else:
        with Probe(machine, settings.lanes) as probe:
            logs = run.run(lambda token: None if token % EVERY else probe())
            hardware = as_profile(probe.measured(before), name)
    return table(logs, simulate(trace, setup.shape, settings, hardware, overhead)), hardware


def table(logs: Sequence[TokenLog], records: Sequence[Record]) -> pd.DataFrame:
    """Return measured and predicted columns, one row a token; times in ns."""
    measured = {f"measured_{name}": [getattr(log, name) for log in logs] for name in LOGGED}
    measured["measured_overhead_ns"] = [log.overhead_ns for log in logs]
    predicted = {
        "wall_ns": [r.end_ns - r.start_ns for r in records],
        "dense_ns": [r.dense_ns for r in records],
        "expert_ns": [r.expert_ns for r in records],
        "stall_ns": [sum(r.stall_ns) for r in records],
        "overhead_ns": [r.overhead_ns for r in records],
        "hits": [r.hits for r in records],
        "late": [r.late for r in records],
    }
    return pd.DataFrame(measured | {f"predicted_{name}": values for name, values in predicted.items()})


def _row(title: str, table: pd.DataFrame) -> dict[str, object]:
    """Return the accuracy of wall time; ``bias`` is the error of the total."""
    found = accuracy(
        table["predicted_wall_ns"].to_numpy(np.float64), table["measured_wall_ns"].to_numpy(np.float64)
    )
    same = bool((table["predicted_hits"] == table["measured_hits"]).all())
    return {"run": title, **asdict(found), "hits_identical": same}
