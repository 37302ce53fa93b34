"""``moesim validate phone``: fit on some tokens, predict all others, write what came of it."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from simulator import __version__
from simulator.config.yaml_file import dump_yaml
from simulator.errors import InputError
from simulator.plots.save import write
from simulator.results.folder import MANIFEST, check_output, file_sha256, fresh_folder
from simulator.validate.phone import figures, report
from simulator.validate.phone.baselines import SIMULATED, predictions
from simulator.validate.phone.compare import TokenRange, accuracies, tokens
from simulator.validate.phone.fit import fit_phone
from simulator.validate.phone.recorded import read_recorded
from simulator.validate.phone.replay import check_sets, fitted_profile, parameters_of

LEAST_TOKENS = 8
Pair = tuple[Path, Path]
"""A trace and the metrics of the same run."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What was found: ``rows`` of accuracy, worst first in each part, and the page that says it."""

    rows: list[dict[str, object]]
    page: str


def validate_phone(
    out: Path,
    fit_on: Pair | None,
    others: Sequence[Pair],
    fit_tokens: int,
    sets: Sequence[str] = (),
    *,
    force: bool = False,
) -> Validation:
    """Write accuracy.csv, tokens.csv, validation-phone.md, a profile and figures into ``out``.

    Without ``fit_on`` the shipped parameters are judged; ``sets`` change the shipped experiment. Errors:
    InputError, before anything is written.
    """
    check_sets(sets, fits=fit_on is not None)
    pairs = [*([fit_on] if fit_on else []), *others]
    if not pairs:
        raise InputError(
            "validate phone", "no run is given", "--fit-trace and --fit-metrics, --trace and --metrics"
        )
    runs = [read_recorded(*pair) for pair in pairs]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise InputError(str(pairs[-1][0]), f"two runs are called {names[-1]}", "rename one of the traces")
    if fit_on and not LEAST_TOKENS <= fit_tokens < len(runs[0]):
        raise InputError(
            "--fit-tokens", f"{fit_tokens} of {len(runs[0])} tokens", f"{LEAST_TOKENS} to {len(runs[0]) - 1}"
        )
    digest = _digest(pairs, fit_tokens if fit_on else 0, sets)
    check_output(out, digest, force=force)
    fitted = fit_phone(runs[0].first(fit_tokens), sets) if fit_on else None
    parameters = fitted.parameters if fitted else parameters_of(sets)
    parts = [TokenRange(run, 0, len(run)) for run in runs]
    if fitted:
        parts[:1] = [
            TokenRange(runs[0], 0, fit_tokens, fitted=True),
            TokenRange(runs[0], fit_tokens, len(runs[0])),
        ]
    predicted = {run.name: predictions(run, parameters, fitted, sets) for run in runs}
    tables = {
        part.title: {name: tokens(part, found) for name, found in predicted[part.recorded.name].items()}
        for part in parts
    }
    found = {part.title: accuracies(part, tables[part.title]) for part in parts}
    parts = worst_first(parts, found)
    rows = [row for part in parts for row in found[part.title]]
    command = _command(fit_on, others, fit_tokens, sets)
    page = report.page(command, parts, tables, rows, parameters, fitted)
    with fresh_folder(out) as folder:
        write(folder / "figures", figures.draw(tables))
        pd.DataFrame(rows).to_csv(folder / "accuracy.csv", index=False, lineterminator="\n")
        _long(tables).to_csv(folder / "tokens.csv", index=False, lineterminator="\n")
        (folder / "validation-phone.md").write_text(page, encoding="utf-8")
        if fitted:
            source = f"fitted by moesim validate phone {__version__} on {parts[-1].tokens}"
            profile = fitted_profile(parameters, source, sets, lanes_limit=fitted.lanes_limit)
            text = dump_yaml(profile, width=120)
            (folder / f"{profile['name']}.yaml").write_text(text, encoding="utf-8")
        manifest = {"moesim_version": __version__, "config_sha256": digest, "runs": names}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return Validation(rows, page)


def worst_first(parts: Sequence[TokenRange], rows: Mapping[str, list[dict[str, object]]]) -> list[TokenRange]:
    """Return the parts by the median error of their wall time, the one fitted on last."""

    def wall(part: TokenRange) -> float:
        return next(
            float(str(row["median"]))
            for row in rows[part.title]
            if (row["quantity"], row["predictor"]) == ("wall", SIMULATED)
        )

    return sorted(parts, key=lambda part: (part.fitted, -wall(part), part.title))


def _command(fit_on: Pair | None, others: Sequence[Pair], fit_tokens: int, sets: Sequence[str]) -> str:
    """Return the command line by the names of its files, an option a line."""
    lines = ["moesim validate phone -o OUT"]
    if fit_on:
        trace, metrics = (shlex.quote(path.name) for path in fit_on)
        lines.append(f"--fit-trace {trace} --fit-metrics {metrics} --fit-tokens {fit_tokens}")
    for pair in others:
        trace, metrics = (shlex.quote(path.name) for path in pair)
        lines.append(f"--trace {trace} --metrics {metrics}")
    lines += [f"--set {shlex.quote(text)}" for text in sets]
    return " \\\n    ".join(lines)


def _long(tables: dict[str, dict[str, pd.DataFrame]]) -> pd.DataFrame:
    return pd.concat(
        table.assign(part=part, predictor=predictor)
        for part, found in tables.items()
        for predictor, table in found.items()
    )


def _digest(pairs: Sequence[Pair], fit_tokens: int, sets: Sequence[str]) -> str:
    """Return a hash of all that decides the results."""
    files = [[(path.name, file_sha256(path)) for path in pair] for pair in pairs]
    parts = [__version__, fit_tokens, files, list(sets)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
