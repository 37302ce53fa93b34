"""The page: everything of a run folder through one template, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shlex
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.analysis.summary import swept
from simulator.errors import InputError
from simulator.plots.save import write
from simulator.report.answer import answer, shared
from simulator.report.caveats import caveats, notes
from simulator.report.differences import differences
from simulator.report.figures import draw_figures
from simulator.report.folder import Results, read_results
from simulator.report.table import columns

HERE = Path(__file__).parent
GENERATOR = "moesim report"
MARK = f'<meta name="generator" content="{GENERATOR}'
SPELLED = {
    "config_sha256": "experiment, SHA-256",
    "inputs": "inputs, SHA-256",
    "started_utc": "started, UTC",
    "finished_utc": "finished, UTC",
}
HEAD_BYTES = 2000  # within which a page of ours has its mark


def write_report(folder: Path, out: Path | None = None, *, force: bool = False) -> Path:
    """Write the page about a run folder to ``out`` (default: report.html in it); return where it is.

    Errors: InputError where the folder holds no results, or ``out`` is a file that is no report.
    """
    target = out or folder / "report.html"
    _check_target(target, force=force)
    content = page(read_results(folder)).encode("utf-8", "replace")
    return write(target.parent, {target.name: content})[0]


def _check_target(target: Path, *, force: bool) -> None:
    if target.is_dir():
        raise InputError(str(target), "is a folder", "name a file with --out")
    try:
        with target.open("rb") as file:
            ours = MARK.encode() in file.read(HEAD_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(
            str(target), f"cannot be read: {error.strerror}", "name another with --out"
        ) from None
    if not (ours or force):
        hint = "name another file with --out, or replace it with --force"
        raise InputError(str(target), "is no report of moesim", hint)


def page(results: Results) -> str:
    """Return the page as HTML; the same bytes for the same folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    summary, first = results.summary, results.configs[0].values
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    table = columns(summary)
    return environment.get_template("report.html.j2").render(
        generator=GENERATOR,
        version=results.manifest["moesim_version"],
        style=Inline.of(style),
        script=Inline.of(script),
        name=first.get("name") or results.folder.resolve().name,
        question=first.get("description") or "",
        shared=shared(summary),
        answer=answer(summary),
        caveats=caveats(summary, results.manifest),
        notes=notes(summary),
        columns=table,
        rows=list(zip(*(column.cells for column in table), strict=True)),
        figures=draw_figures(results),
        differences=differences(results.configs, ["seed", *swept(summary), *_varying(results)]),
        configs=[(_who(results, i), config.text) for i, config in enumerate(results.configs)],
        facts=facts(results.manifest),
    )


@dataclass(frozen=True, slots=True)
class Inline:
    """A style sheet or script of ours as it stands in the page, and the source that its policy allows."""

    text: str
    allowed: str

    @classmethod
    def of(cls, text: str) -> Inline:
        """Return the text with its hash."""
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        return cls(text, f"'sha256-{digest}'")


def _varying(results: Results) -> list[str]:
    names = ("system", "model", "hardware", "software", "trace")
    return [name for name in names if len(set(results.summary[name])) > 1]


def _who(results: Results, index: int) -> str:
    """Return which run a configuration is of: its number, its system and what was swept."""
    row = results.summary.iloc[index]
    told = [f"{key} {row[key]}" for key in swept(results.summary) if row[key]]
    return f"run {row['run']:.0f}: {', '.join([str(row['system']), *told])}"


def facts(manifest: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the manifest for people: each entry with its lines."""
    return [(SPELLED.get(key, key.replace("_", " ")), _lines(key, value)) for key, value in manifest.items()]


def _lines(key: str, value: Any) -> list[str]:
    if key == "command" and isinstance(value, list):
        return [shlex.join(map(str, value))]
    if isinstance(value, dict):
        return [f"{name} {_plain(item)}" for name, item in value.items()]
    return [_plain(item) for item in value] if isinstance(value, list) else [_plain(value)]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
