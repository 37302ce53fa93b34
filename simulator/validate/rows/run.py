"""``moesim validate measured`` and ``published``: rows in, a table, a figure and a page out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from simulator import __version__
from simulator.plots.save import write
from simulator.results.folder import MANIFEST, check_output, fresh_folder, intact
from simulator.results.store import open_store
from simulator.runs.experiment import Progress
from simulator.validate.rows import figures, report, table
from simulator.validate.rows.load import Kind, Sourced, load_rows, shipped
from simulator.validate.rows.orderings import Pair, pairs
from simulator.validate.rows.plan import Planned, Planner
from simulator.validate.rows.play import Outcome, RunKey, play_rows
from simulator.validate.rows.verdict import Judged, KindError, errors_by_kind, judge

RUNS = "runs.json"
"""What was measured of each run, by the hash of all that decides it: it need not be played again."""
TITLES: dict[Kind, str] = {"measured": "Measured, and simulated", "published": "Published, and simulated"}


@dataclass(frozen=True, slots=True)
class RowsDone:
    """What was found: the rows, the errors of each kind, the orderings, and the page that says it."""

    judged: list[Judged]
    errors: list[KindError]
    ordered: list[Pair]
    page: str


def validate_rows(
    kind: Kind,
    out: Path,
    *,
    source: Path | None = None,
    only: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> RowsDone:
    """Write rows.csv, report.md and figures of a kind's rows (or ``source``'s) into ``out``.

    Runs that are known from an interrupted or an earlier validation there are not played again.
    Errors: InputError, before anything is written; RunError (a fault of ours).
    """
    rows = load_rows(source or shipped(kind), only)
    digest = _digest(rows)
    check_output(out, digest, force=force)
    with TemporaryDirectory() as drawn:
        planner = Planner(Path(drawn))
        planned = [planner.plan(one) for one in rows]
        with open_store(out, resume=True, force=False) as store:
            check_output(out, digest, force=force)  # nobody else can change it from here on
            store.complete = False  # a sweep's runs may be in it
            earlier = _earlier(out)
            for entry, measures in earlier.items():
                store.entries.put(entry, measures)
            outcomes = play_rows(planned, store.entries, progress)
            done = _judged(kind, source, only, planned, outcomes)
            with fresh_folder(out, store.folder) as folder:
                _write(folder, done, digest, outcomes.values())
            store.entries.remove({*earlier, *(outcome.entry for outcome in outcomes.values())})
    return done


def _judged(
    kind: Kind,
    source: Path | None,
    only: str | None,
    planned: Sequence[Planned],
    outcomes: dict[RunKey, Outcome],
) -> RowsDone:
    judged = [judge(one, outcomes) for one in planned]
    errors, ordered = errors_by_kind(judged), pairs(judged)
    options = [f"--from {source.name}"] if source else []
    options += [f"--only '{only}'"] if only else []
    command = " ".join(["moesim validate", kind, "-o OUT", *options])
    return RowsDone(judged, errors, ordered, report.page(TITLES[kind], command, judged, errors, ordered))


def _write(folder: Path, done: RowsDone, digest: str, outcomes: Iterable[Outcome]) -> None:
    write(folder / "figures", figures.draw(done.judged))
    (folder / "rows.csv").write_text(table.as_csv(done.judged), encoding="utf-8")
    (folder / "report.md").write_text(done.page, encoding="utf-8")
    runs = {outcome.entry: outcome.measures for outcome in outcomes if outcome.entry}
    (folder / RUNS).write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    manifest = {"moesim_version": __version__, "config_sha256": digest}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _earlier(out: Path) -> dict[str, Any]:
    """Return what was measured in an earlier validation that is there; {} where it was changed since."""
    if not intact(out, [RUNS]):
        return {}
    found: dict[str, Any] = json.loads((out / RUNS).read_text(encoding="utf-8"))
    return found


def _digest(rows: Sequence[Sourced]) -> str:
    """Return a hash of what is asked for: the rows, whatever has become of the code."""
    texts = [[one.row.model_dump_json(), one.file.model_dump_json(exclude={"rows"})] for one in rows]
    return hashlib.sha256(json.dumps([__version__, texts]).encode()).hexdigest()
