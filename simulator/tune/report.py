"""The folder of a search: trials.csv, best.yaml, report.md, manifest.json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from simulator import __version__
from simulator.config.paths import relative_to
from simulator.config.yaml_file import dump_yaml
from simulator.results.folder import MANIFEST
from simulator.tune.findings import Findings, Pair

BEST_SHOWN = 5


def write_findings(folder: Path, target: Path, found: Findings, manifest: Mapping[str, Any]) -> None:
    """Write what a search found into a folder that becomes ``target``; ``manifest`` is of its runs."""
    packages = {**manifest["packages"], "optuna": metadata.version("optuna")}
    said = {**manifest, "tune_seed": found.subject.tune.seed, "packages": packages}
    files = {
        "trials.csv": trials_csv(found),
        "best.yaml": best_yaml(found, target),
        "report.md": markdown(found),
        MANIFEST: json.dumps(said, indent=2) + "\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def trials_csv(found: Findings) -> str:
    """Return a row for each trial: number, state, settings, the metric in training, why it was refused."""
    settings = list(found.subject.space.settings)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["number", "state", *settings, found.subject.tune.metric, "reason"])
    for trial in found.trials:
        state = "refused" if trial.refused else "done"
        values = [_cell(found.named(trial.values).get(key)) for key in settings]
        writer.writerow([trial.number, state, *values, _cell(trial.score), trial.refused])
    return file.getvalue()


def best_yaml(found: Findings, target: Path) -> str:
    """Return the experiment with the best values, under a name of its own, as a file in ``target``."""
    subject = found.subject
    data = subject.data(found.best.values if found.best.number else {})
    data.pop("tune", None)
    data = {"name": f"{subject.name}-tuned"} | {key: data[key] for key in data if key != "name"}
    comment = (
        f"# {subject.name}, as `moesim tune` (moesim {__version__}) found it best: report.md says what for.\n"
    )
    return comment + dump_yaml(relative_to(data, target))


def markdown(found: Findings) -> str:
    """Return the report: held-out sequences first."""
    tune, n_all = found.subject.tune, len(found.alone) + found.n_training
    aim = "maximised" if found.maximise else "minimised"
    parts = (
        (f"**{_count(len(found.alone))} held out**", found.held_out),
        (f"{_count(found.n_training)} of training", found.training),
        (f"all {n_all}", found.all),
    )
    specs = found.subject.specs
    each = f", the mean over {len(specs)} runs of the sweep" if len(specs) > 1 else ""
    refused = sum(bool(trial.refused) for trial in found.trials)
    sampler = f"TPE (Optuna {metadata.version('optuna')}, seed {tune.seed})"
    return "\n".join(
        [
            f"# {found.subject.name}, tuned",
            "",
            f"`{tune.metric}`, {aim}{each}. Chosen on the training sequences alone.",
            "",
            *_table(
                ("sequences", "as it is", "best", "better by"),
                ((name, _number(p.before), _number(p.after), _gain(p, found)) for name, p in parts),
            ),
            "",
            *(f"- {line}" for line in found.warnings()),
            "",
            "`best.yaml` is the experiment with the best values: `moesim run best.yaml` gives the last line.",
            "",
            "## What was searched",
            "",
            *_table(("setting", "searched", "as it is", "best"), _searched(found)),
            "",
            f"{tune.trials} combinations beside the experiment as it is, drawn by {sampler}.",
            f"{refused} were refused. The best is trial {found.best.number}.",
            "",
            "## The best trials",
            "",
            *_table(
                (
                    "trial",
                    *(f"`{key}`" for key in found.subject.space.settings),
                    f"`{tune.metric}`, training",
                ),
                _best_trials(found),
            ),
            "",
            "## Each held-out sequence alone",
            "",
            "Played from an empty cache, with both settings.",
            "",
            *_table(("trace", "sequence", "as it is", "best", "better by"), _alone(found)),
            "",
            _paired(found),
            "",
        ]
    )


def _searched(found: Findings) -> Iterable[Sequence[str]]:
    first, best = found.named(found.trials[0].values), found.named(found.best.values)
    for setting, key in found.subject.space.settings.items():
        p = found.subject.tune.parameters[key]
        if p.shares is not None:
            range_ = f"shares of 1 in `{key}`"
        elif p.choices is not None:
            range_ = ", ".join(_cell(found.named({key: one})[key]) for one in p.choices)
        else:
            step = f" in steps of {p.step}" if p.step is not None else ", logarithmic" if p.log else ""
            range_ = f"{p.low} to {p.high}{step}"
        yield f"`{setting}`", range_, _cell(first.get(setting)), _cell(best.get(setting))


def _best_trials(found: Findings) -> Iterable[Sequence[str]]:
    done = [(trial.score, trial) for trial in found.trials if trial.score is not None]
    done.sort(key=lambda pair: -pair[0] if found.maximise else pair[0])
    for score, trial in done[:BEST_SHOWN]:
        values = [_cell(found.named(trial.values).get(key)) for key in found.subject.space.settings]
        yield str(trial.number), *values, _number(score)


def _alone(found: Findings) -> Iterable[Sequence[str]]:
    for trace, number, pair in found.alone:
        if pair is None:
            yield f"`{trace}`", str(number), "no value", "", ""
        else:
            yield f"`{trace}`", str(number), _number(pair.before), _number(pair.after), _gain(pair, found)


def _paired(found: Findings) -> str:
    """Return in one sentence how many held-out sequences gained, and how much they did in the mean."""
    gains = [pair.gain(maximise=found.maximise) for _, _, pair in found.alone if pair is not None]
    if not gains:
        return "The metric has no value on a sequence alone."
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    mean = sum(gains) / len(gains)
    return f"Better on {better}, worse on {worse} of {len(gains)}; in the mean better by {100 * mean:+.2f} %."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines]


def _gain(pair: Pair, found: Findings) -> str:
    if not pair.before:
        return _number(pair.gain(maximise=found.maximise))
    return f"{100 * pair.gain(maximise=found.maximise):+.2f} %"


def _number(value: float) -> str:
    return f"{value:.6g}"


def _cell(value: object) -> str:
    """Return a value as tables write it; mappings and lists as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _count(n: int) -> str:
    return f"{n} {'sequence' if n == 1 else 'sequences'}"
