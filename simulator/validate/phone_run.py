"""``moesim validate phone``: fit on some tokens, predict all others, write what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from simulator import __version__
from simulator.config.yaml_file import dump_yaml
from simulator.errors import InputError
from simulator.plots.save import write
from simulator.results import MANIFEST, check_output, file_sha256, fresh_folder
from simulator.validate import phone_figures, phone_report
from simulator.validate.compare import Part, accuracies, line, tokens
from simulator.validate.phone import Parameters, Phone, Predicted, fitted_profile, shipped_parameters
from simulator.validate.phone_fit import Fitted, fit_phone
from simulator.validate.recorded import Recorded, read_recorded

LEAST_TOKENS = 8
Pair = tuple[Path, Path]
"""A trace and the metrics of the same run."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What was found: ``rows`` of accuracy, worst first in each part, and the page that says it."""

    rows: list[dict[str, object]]
    page: str


def validate_phone(
    out: Path, fit_on: Pair | None, others: Sequence[Pair], fit_tokens: int, *, force: bool = False
) -> Validation:
    """Write accuracy.csv, tokens.csv, validation-phone.md, a profile and figures into ``out``.

    Without ``fit_on`` the shipped parameters are judged. Errors: InputError, before anything is written.
    """
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
    digest = _digest(pairs, fit_tokens if fit_on else 0)
    check_output(out, digest, force=force)
    fitted = fit_phone(runs[0].first(fit_tokens)) if fit_on else None
    parameters = fitted.parameters if fitted else shipped_parameters()
    parts = [Part(run, 0, len(run)) for run in runs]
    if fitted:
        parts[:1] = [Part(runs[0], 0, fit_tokens, fitted=True), Part(runs[0], fit_tokens, len(runs[0]))]
    predicted = {run.name: _predictions(run, parameters, fitted) for run in runs}
    tables = {
        part.title: {name: tokens(part, found) for name, found in predicted[part.recorded.name].items()}
        for part in parts
    }
    rows = [row for part in parts for row in accuracies(part, tables[part.title])]
    page = phone_report.page(parts, tables, rows, parameters, fitted)
    with fresh_folder(out) as folder:
        write(folder / "figures", phone_figures.draw(tables))
        pd.DataFrame(rows).to_csv(folder / "accuracy.csv", index=False, lineterminator="\n")
        _long(tables).to_csv(folder / "tokens.csv", index=False, lineterminator="\n")
        (folder / "validation-phone.md").write_text(page, encoding="utf-8")
        if fitted:
            profile = fitted_profile(parameters, f"moesim validate phone: fitted on {parts[0].tokens}")
            text = dump_yaml(profile, width=120)
            (folder / "oneplus-15r-fitted.yaml").write_text(text, encoding="utf-8")
        manifest = {"moesim_version": __version__, "config_sha256": digest, "runs": names}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return Validation(rows, page)


def _predictions(run: Recorded, parameters: Parameters, fitted: Fitted | None) -> dict[str, Predicted]:
    simulated = Phone(run).predict(parameters)
    found = {"simulated": simulated, "policy: recorded": Phone(run, "recorded").predict(parameters)}
    return found | ({"line": line(run, simulated, fitted)} if fitted else {})


def _long(tables: dict[str, dict[str, pd.DataFrame]]) -> pd.DataFrame:
    return pd.concat(
        table.assign(part=part, predictor=predictor)
        for part, found in tables.items()
        for predictor, table in found.items()
    )


def _digest(pairs: Sequence[Pair], fit_tokens: int) -> str:
    """Return a hash of all that decides the results."""
    parts = [__version__, fit_tokens, [[file_sha256(path) for path in pair] for pair in pairs]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
