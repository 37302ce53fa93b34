"""``moesim list`` and ``moesim schema``: what there is to name, and what files may hold."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from simulator.errors import InputError, did_you_mean

Row = tuple[str, str]
LEARNS = "; learns beforehand: name a training_share or a training_trace"


def list_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="models, precisions, hardware, parts, software, systems, policies, traces, formats, "
            "experiments, figures, metrics, rows",
        ),
    ],
    find: Annotated[
        str | None, typer.Option("--find", metavar="TEXT", help="only what has this in its name or title")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List what can be named in an experiment."""
    if kind not in KINDS:
        raise InputError(f"list {kind}", "unknown kind", did_you_mean(kind, KINDS))
    rows = [row for row in KINDS[kind]() if find is None or find.lower() in " ".join(row).lower()]
    if not rows:
        raise InputError(f"list {kind}", f"nothing has '{find}' in its name or title", "leave --find out")
    if as_json:
        print(json.dumps([{"name": name, "title": title} for name, title in rows], indent=2))
        return
    width = max((len(name) for name, _ in rows), default=0) + 2
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for name, title in rows:
        for i, line in enumerate(textwrap.wrap(title, max(columns - width, 30)) if columns else [title]):
            print(f"{'' if i else name:<{width}}{line}")


def schema(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="experiment, hardware, software, model")
    ] = "experiment",
) -> None:
    """Print the JSON Schema of a file, for editors."""
    from simulator.experiment.json_schema import experiment_schema, extending_schema, file_schema
    from simulator.experiment.schema import Experiment
    from simulator.machine.compose import Described
    from simulator.machine.hardware import HardwareProfile
    from simulator.machine.software import SoftwareProfile
    from simulator.model.spec import ModelSpec

    kinds = {
        "experiment": lambda: experiment_schema(Experiment),
        "hardware": lambda: file_schema(HardwareProfile, Described),
        "software": lambda: extending_schema(SoftwareProfile),
        "model": lambda: file_schema(ModelSpec),
    }
    if kind not in kinds:
        raise InputError(f"schema {kind}", "unknown kind", did_you_mean(kind, kinds))
    print(json.dumps(kinds[kind](), indent=2))


def _rows() -> Iterable[Row]:
    from simulator.validate.rows.load import KINDS, load_rows, shipped

    files = [(kind, path) for kind in KINDS for path in sorted(shipped(kind).glob("*.yaml"))]
    for kind, path in files:
        for one in load_rows(path):
            row, title = one.row, one.file.source.title
            yield row.id, f"{kind}: {row.kind} {row.value:g} {row.unit} ({title}, {row.where})"


def _models() -> Iterable[Row]:
    from simulator import data
    from simulator.model.load import load_model

    for name in data.names("models"):
        m = load_model(name)
        shape = f"{len(m.moe_layers)} MoE layers x {m.n_experts} experts, top {m.top_k}"
        yield name, f"{m.title}: {shape}, {_billions(m.total_params)} weights"


def _billions(n: int) -> str:
    return f"{n / 1e9:,.0f} B" if n >= 1e11 else f"{n / 1e9:.1f} B" if n >= 1e9 else f"{n / 1e6:.0f} M"


def _hardware() -> Iterable[Row]:
    from simulator import data
    from simulator.machine.hardware import load_hardware

    for name in data.names("hardware_profiles"):
        yield name, load_hardware(name).title


def _parts() -> Iterable[Row]:
    from simulator.machine.catalogue import KINDS, catalogue

    for kind in KINDS:
        for name, found in catalogue(kind).items():
            yield name, f"{kind}: {found.title}, {found.says}"


def _precisions() -> Iterable[Row]:
    from simulator.model.precision import BITS, MIXES

    for name, bits in BITS.items():
        yield name, f"{float(bits):g} bits a weight"
    for name in MIXES:
        yield name, "a mix of types by layer and matrix"


def _metrics() -> Iterable[Row]:
    from simulator.results.metrics import METRICS

    for metric in METRICS:
        yield metric.name, metric.meaning


def _software() -> Iterable[Row]:
    from simulator import data
    from simulator.machine.software import load_software

    for name in data.names("software_profiles"):
        yield name, load_software(name).title


def _systems() -> Iterable[Row]:
    from policies.registry import AXES, learns_beforehand
    from simulator.experiment.systems import load_system, system_names

    for name in system_names():
        system = load_system(name, "list systems")
        learns = any(learns_beforehand(axis, spec) for axis, spec in system.policies.items() if axis in AXES)
        code = f"; software {system.software}" if system.software else ""
        yield name, system.title + _cited(system.cite) + code + (LEARNS if learns else "")


def _policies() -> Iterable[Row]:
    from policies.registry import listing

    for row in listing():
        learns = LEARNS if row.learns_beforehand else ""
        yield f"{row.axis}: {row.name}", row.doc + _cited(row.cite) + learns


def _cited(cite: str) -> str:
    return f" [{cite}]" if cite else ""


def _traces() -> Iterable[Row]:
    from simulator import data
    from simulator.trace.catalogue import load_catalogue
    from simulator.trace.find import fetched
    from simulator.trace.footer import read_trace_header

    for name in data.names("traces"):
        h = read_trace_header(data.folder("traces") / f"{name}.parquet")
        shape = f"{h.n_layers} MoE layers x {h.n_experts} experts, top {h.top_k}"
        yield name, f"{h.model}: {shape}; {h.prompt_source or 'prompts not named'}"
    entries = load_catalogue().traces.items()
    for name, entry in sorted(entries, key=lambda item: (not fetched(item[0]).is_file(), not item[1].files)):
        s = entry.shape
        shape = f"{s.moe_layers} MoE layers x {s.experts} experts, top {s.top_k}"
        size = f"to fetch, {entry.bytes / 1e6:.1f} MB" + (", unverified" if entry.unverified else "")
        state = "fetched" if fetched(name).is_file() else size if entry.files else "by hand"
        yield name, f"[{state}] {entry.model}: {shape}; {entry.what}"


def _formats() -> Iterable[Row]:
    from simulator.trace.importers.registry import IMPORTERS

    for name, importer in IMPORTERS.items():
        yield name, importer.reads


def _experiments() -> Iterable[Row]:
    from simulator import data
    from simulator.config.yaml_file import read_yaml

    for name in data.names("experiments"):
        found = read_yaml(data.folder("experiments") / f"{name}.yaml").data
        yield name, " ".join(str(found.get("description", "")).split())


def _figures() -> Iterable[Row]:
    from simulator.plots import listing

    yield from listing()


KINDS: dict[str, Callable[[], Iterable[Row]]] = {
    "models": _models,
    "precisions": _precisions,
    "hardware": _hardware,
    "parts": _parts,
    "software": _software,
    "systems": _systems,
    "policies": _policies,
    "traces": _traces,
    "formats": _formats,
    "experiments": _experiments,
    "figures": _figures,
    "metrics": _metrics,
    "rows": _rows,
}
