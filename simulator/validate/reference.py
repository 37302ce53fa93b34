"""``moesim validate reference``: run it, calibrate meanwhile, simulate the same, compare token by token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from simulator import __version__
from simulator.calibrate.measure import QUICK, Measured, Plan, measure
from simulator.calibrate.profile import profile as as_profile
from simulator.calibrate.scratch import check_folder, scratch_file
from simulator.calibrate.system import this_system
from simulator.calibrate.write import write_profile
from simulator.config.units import format_bytes
from simulator.engine.demand import Record
from simulator.errors import InputError
from simulator.hardware import HardwareProfile
from simulator.results import MANIFEST, check_output, fresh_folder
from simulator.trace.core import Trace
from simulator.validate import reference_report
from simulator.validate.accuracy import accuracy
from simulator.validate.reference_probe import Probe
from simulator.validate.reference_run import LOGGED, ReferenceRun, Settings, Shape, TokenLog, expert_memory
from simulator.validate.reference_sim import decoded, fit_overhead, simulate

Say = Callable[[str], None]
SHAPE = Shape(256, 512)
EVERY = 2
"""Tokens from one round of calibration to the next."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is run: ``sizes`` are shares of all experts; ``profile`` None calibrates while it runs."""

    folder: Path
    trace: Trace
    sizes: Sequence[float] = (0.25, 0.5, 0.75)
    tokens: int = 256
    shape: Shape = SHAPE
    lanes: int = 2
    profile: HardwareProfile | None = None

    @property
    def file_bytes(self) -> int:
        """Return the bytes of all experts."""
        header = self.trace.header
        return header.n_layers * header.n_experts * self.shape.expert_bytes

    def runs(self) -> list[Settings]:
        """Return the runs: each cache without prefetch and with."""
        n = self.trace.header.n_layers * self.trace.header.n_experts
        return [Settings(int(n * size), self.lanes, on) for size in self.sizes for on in (False, True)]

    def check(self) -> None:
        """Refuse what cannot be run. Errors: InputError."""
        header = self.trace.header
        if not self.trace.predicted:
            raise InputError("--trace", f"{header.model} has no recorded predictions", "use olmoe-mini")
        least = (header.top_k + self.lanes) / (header.n_layers * header.n_experts)
        for size in self.sizes:
            if not least <= size <= 1:
                raise InputError(
                    "--sizes", f"{size:g} of all experts", f"from {least:.3g} (a step) to 1 (all)"
                )
        if self.profile is not None and (
            self.profile.main != "cpu" or "ssd_to_cpu" not in self.profile.links
        ):
            raise InputError(
                "--profile", f"{self.profile.name} does not compute on a CPU beside a drive", "calibrate"
            )
        system = this_system()
        needed = int(max(self.sizes) * self.file_bytes)
        if needed > system.memory_bytes - system.used_bytes:
            raise InputError("--sizes", f"{format_bytes(needed)} of memory are not free", "smaller caches")
        check_folder(self.folder, self.file_bytes)


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
        before = measure(_plan(setup), setup.folder)
    tables: dict[str, pd.DataFrame] = {}
    profiles: dict[str, HardwareProfile] = {}
    with scratch_file(setup.folder, setup.file_bytes) as fd:
        for settings, size in zip(setup.runs(), np.repeat(setup.sizes, 2).tolist(), strict=True):
            title = f"cache {size:.0%}, {'prefetch' if settings.prefetch else 'on demand'}"
            say(title)
            tables[title], profiles[title] = _compare(setup, trace, settings, fd, before, _name(title))
    rows = [_row(title, table) for title, table in tables.items()]
    rows.sort(key=lambda row: -float(str(row["median"])))
    given = None if setup.profile is None else setup.profile.name
    page = reference_report.page(rows, tables, setup.shape, setup.lanes, trace, given)
    with fresh_folder(out) as folder:
        pd.DataFrame(rows).to_csv(folder / "accuracy.csv", index=False, lineterminator="\n")
        long = pd.concat(table.assign(run=title) for title, table in tables.items())
        long.to_csv(folder / "tokens.csv", index=False, lineterminator="\n")
        for title, hardware in profiles.items():
            write_profile(hardware, folder / f"{_name(title)}.yaml")
        (folder / "validation-reference.md").write_text(page, encoding="utf-8")
        manifest = {"moesim_version": __version__, "config_sha256": digest, "runs": list(tables)}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return page


def _name(title: str) -> str:
    return title.replace("%,", "").replace(" ", "-")


def _plan(setup: Setup) -> Plan:
    """Return what the probe leaves out: experts with several tokens, memory; little of all else."""
    shape = setup.shape
    return replace(
        QUICK,
        blocks=(shape.expert_bytes,),
        lanes=(1, setup.lanes) if setup.lanes > 1 else (1,),
        shapes=((shape.hidden, shape.ffn // 2), (shape.hidden, shape.ffn)),
        threads=1,
    )


def _compare(
    setup: Setup, trace: Trace, settings: Settings, fd: int, before: Measured | None, name: str
) -> tuple[pd.DataFrame, HardwareProfile]:
    """Run and simulate one setting; return what both say of each token, and the profile."""
    shape = setup.shape
    memory = expert_memory(shape, settings.slots)
    overhead = fit_overhead(ReferenceRun(trace, shape, settings, None, memory).run())
    run = ReferenceRun(trace, shape, settings, fd, memory)
    if before is None:
        assert setup.profile is not None
        logs, hardware = run.run(), setup.profile
    else:
        with Probe(fd, setup.file_bytes, shape, settings.lanes) as probe:
            logs = run.run(lambda token: None if token % EVERY else probe())
            hardware = as_profile(probe.measured(before), name)
    return table(logs, simulate(trace, shape, settings, hardware, overhead)), hardware


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
