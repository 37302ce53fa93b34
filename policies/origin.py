"""Origins: the code that decides a run, as far as it can be known. moesim's own, and that of other policies.

A policy that is not built in is made of the modules that it imports, in turn, as their source says. Those of
an installed distribution are known by its name and version; all others, and those of the policy's own
distribution, by the digest of their files. The standard library and moesim itself are left out.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

from policies.offered import kind_of
from policies.registry import distribution, source

OWN = ("policies", "simulator")
SHOWS_ONLY = (
    "analysis", "calibrate", "checks.py", "cli", "contract",
    "curve", "explain", "interface", "plots", "report", "timeline", "tune", "validate",
)  # fmt: skip
"""Parts of ``simulator`` and ``policies`` that no result depends on."""
INSTALLED = {"site-packages", "dist-packages"}
UNFOLLOWED = {
    "__import__", "exec", "eval", "import_module", "module_from_spec", "run_module", "run_path",
    "open", "read_bytes", "read_text", "load", "loadtxt", "genfromtxt", "fromfile", "memmap", "read_csv",
    "read_json", "read_parquet", "read_table", "CDLL", "LoadLibrary",
}  # fmt: skip
"""Functions that bring code or data that no import names."""


@dataclass(slots=True)
class Origin:
    """What a policy is made of: distributions by version, files by SHA-256, and what is not known of it."""

    packages: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return it in a line: distributions, and the digest of the file or of all files."""
        sums = [*self.files.values()]
        whole = sums[0] if len(sums) == 1 else _sha256("".join(f"{s}  {n}\n" for n, s in self.files.items()))
        count = f" ({len(sums)} files)" if len(sums) > 1 else ""
        return ", ".join([*(f"{name} {version}" for name, version in self.packages.items()), whole + count])


@cache
def own_code() -> str:
    """Return the digest of moesim's code, without what only shows results."""
    import policies
    import simulator

    lines = []
    for package in (policies, simulator):
        root = Path(next(iter(package.__path__)))
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root.parent).as_posix()
            if name.split("/")[1] not in SHOWS_ONLY:
                lines.append(f"{_file_sha256(path)}  {name}\n")
    return _sha256("".join(lines))


def origin(axis: str, spec: str | Mapping[str, Any]) -> Origin | None:
    """Return what a policy is made of; None for one that is built in. Errors: InputError, as ``create``."""
    name = spec if isinstance(spec, str) else str(spec["name"])
    kind = kind_of(axis, name)
    return _origin(axis, name) if kind is None else _of_object(name, kind)


def _of_object(name: str, kind: type) -> Origin:
    """Return what is known of a policy that this process has as an object: the text of its class."""
    unknown = [f"{name} is an object of a Python session: what it uses is not known"]
    try:
        return Origin(files={name: _sha256(inspect.getsource(kind))}, unknown=unknown)
    except (OSError, TypeError):
        return Origin(unknown=unknown)


@cache  # a process loads a policy once, whatever happens to its files meanwhile
def _origin(axis: str, name: str) -> Origin | None:
    module = source(axis, name)
    if module is None:
        return None
    found = Origin()
    own = distribution(axis, name)
    known: set[Path] = set()
    if own is not None:
        found.packages[own.name] = own.version
        known = _take_files(own, found)
    _follow(module, own.name if own is not None else None, known, found)
    found.packages = dict(sorted(found.packages.items()))
    found.files = dict(sorted(found.files.items()))
    return found


def _take_files(own: metadata.Distribution, found: Origin) -> set[Path]:
    """Take in the files of a policy's own distribution, and return them; none where it does not list them."""
    taken = set()
    for path in own.files or ():
        there = Path(str(own.locate_file(path))).resolve()
        about = path.parts[0].endswith((".dist-info", ".egg-info"))
        if not {"..", "__pycache__"} & {*path.parts} and not about and there.is_file():
            found.files[path.as_posix()] = _file_sha256(there)
            taken.add(there)
    return taken


def _follow(module: ModuleType, own: str | None, known: AbstractSet[Path], found: Origin) -> None:
    """Take in a module and those that it imports, in turn; ``known`` are files that are taken in already."""
    start = module.__name__
    seen, todo = {start}, [start]
    while todo:
        name = todo.pop()
        top = name.partition(".")[0]
        if top in OWN or top in sys.stdlib_module_names:
            continue
        whole, spec = _spec(top), _spec(name)
        if whole is None:  # would it be there, the policy might do something else
            found.packages[top] = "absent"
            continue
        if (dist := _installed(top, whole)) and dist.name != own:
            found.packages[dist.name] = dist.version
            continue
        if spec is None:  # a name within a module, or a module that is absent
            continue
        places = spec.submodule_search_locations
        if spec.origin is None and places is not None:  # a folder without __init__.py
            continue
        path = Path(spec.origin or "").resolve()
        shown = path.name if name == start else name
        if not path.is_file():
            found.unknown.append(f"{shown} is in no file")
            continue
        if path not in known:
            found.files[shown] = _file_sha256(path)
        tree = _parsed(path)
        if tree is None:
            found.unknown.append(f"what {shown} uses cannot be read from {path.name}")
            continue
        found.unknown += [f"{shown} calls {call}, which may bring anything" for call in _unfollowed(tree)]
        others = {*_imports(tree, name if places is not None else name.rpartition(".")[0])} - seen
        seen |= others
        todo += others


def _parsed(path: Path) -> ast.AST | None:
    if path.suffix != ".py":  # compiled
        return None
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return None


def _spec(name: str) -> ModuleSpec | None:
    """Return how a module is found, without importing anything; None where it is not."""
    if (module := sys.modules.get(name)) is not None and module.__spec__ is not None:
        return module.__spec__
    above, _, _ = name.rpartition(".")
    try:
        if not above:
            return find_spec(name)
        package = _spec(above)
        places = package.submodule_search_locations if package is not None else None
        return PathFinder.find_spec(name, places) if places is not None else None
    except (ImportError, AttributeError, ValueError):
        return None


def _installed(top: str, spec: ModuleSpec) -> metadata.Distribution | None:
    """Return the distribution that a package was installed with; None for one that is being worked on."""
    places = [spec.origin] if spec.origin else [*(spec.submodule_search_locations or ())]
    for name in _distributions().get(top, ()):
        dist = metadata.distribution(name)
        root = Path(str(dist.locate_file(""))).resolve()
        inside = any(Path(place).resolve().is_relative_to(root) for place in places)
        if inside and (root.name in INSTALLED or dist.read_text("RECORD") is not None):
            return dist
    return None


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the modules that a module imports, anywhere in it, with the packages that they lie in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            try:
                source = resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue
            yield from _with_parents(source)
            for alias in node.names:
                yield f"{source}.{alias.name}"


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for n in range(1, len(parts) + 1):
        yield ".".join(parts[:n])


def _unfollowed(tree: ast.AST) -> list[str]:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    names = {call.id if isinstance(call, ast.Name) else getattr(call, "attr", "") for call in calls}
    return sorted(names & UNFOLLOWED)


def _file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
