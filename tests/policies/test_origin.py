"""Origins: what the hash of a run knows of policies that are not built in."""

from __future__ import annotations

import hashlib
import itertools
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from policies import origin as module
from policies import registry
from policies.origin import Origin, origin

POLICY = "from policies.eviction.lru import LRU\n{imports}\nclass P(LRU):\n    'x'\n"
fresh = itertools.count()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that modules are imported from, as PYTHONPATH would have it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def of(folder: Path, imports: str) -> tuple[Origin, Path]:
    """Return the origin of a policy in a file of its own with these imports."""
    path = folder / f"own{next(fresh)}.py"
    path.write_text(POLICY.format(imports=imports), encoding="utf-8")
    return again(path), path


def again(path: Path) -> Origin:
    """Return the origin as another process would find it."""
    module._origin.cache_clear()
    found = origin("eviction", f"{path}:P")
    assert found is not None
    return found


def names(tag: str, *files: str, folder: Path) -> list[str]:
    """Write modules, each of which imports the next, under names that no other test uses."""
    made = [f"{tag}{name}" for name in files]
    for name, then in itertools.pairwise([*made, ""]):
        text = f"VALUE = 1\n{f'from {then} import VALUE as other' if then else ''}\n"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return made


def test_what_is_built_in_comes_with_moesim() -> None:
    assert origin("eviction", "lru") is None
    assert origin("eviction", {"name": "decayed-lfu"}) is None


def test_a_policy_is_its_file_and_the_modules_that_it_imports_in_turn(folder: Path) -> None:
    first, second = names("origin_chain_", "a", "b", folder=folder)
    found, path = of(folder, f"from {first} import VALUE  # a number: nothing of the module stays")
    files = {path.name: path, first: folder / f"{first}.py", second: folder / f"{second}.py"}
    assert found.files == {name: sha256(file) for name, file in files.items()}
    assert found.unknown == []
    (folder / f"{second}.py").write_text("VALUE = 2\n", encoding="utf-8")
    assert again(path).files[second] == sha256(folder / f"{second}.py")
    assert str(again(path)) != str(found)


def test_a_module_that_a_function_imports_counts_and_is_not_run(folder: Path) -> None:
    (folder / "origin_lazy.py").write_text("raise SystemExit('was run')\n", encoding="utf-8")
    found, _ = of(folder, "def later():\n    import origin_lazy")
    assert "origin_lazy" in found.files
    assert "origin_lazy" not in sys.modules


def test_a_package_counts_with_its_parts_that_are_imported(folder: Path) -> None:
    for name, text in (("__init__", ""), ("near", "from . import far"), ("far", ""), ("other", "")):
        (folder / "origin_pack").mkdir(exist_ok=True)
        (folder / "origin_pack" / f"{name}.py").write_text(text, encoding="utf-8")
    found, path = of(folder, "from origin_pack import near")
    assert {*found.files} == {path.name, "origin_pack", "origin_pack.near", "origin_pack.far"}


def test_what_is_installed_counts_by_its_version_and_what_is_absent_as_such(folder: Path) -> None:
    found, path = of(
        folder, "import json\nimport numpy.random\ntry:\n    import origin_nowhere\nexcept ImportError: pass"
    )
    assert {*found.files} == {path.name}
    assert found.packages == {"numpy": version("numpy"), "origin_nowhere": "absent"}
    assert np.__version__ in str(found)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("open(__file__).close()", "calls open, which may bring anything"),
        ("import importlib; importlib.import_module('json')", "calls import_module"),
        ("exec('1')", "calls exec"),
    ],
)
def test_what_cannot_be_known_is_said(folder: Path, code: str, says: str) -> None:
    found, path = of(folder, code)
    assert len(found.unknown) == 1
    assert found.unknown[0].startswith(path.name)
    assert says in found.unknown[0]


def test_a_compiled_module_counts_by_its_file_and_what_it_uses_is_unknown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = folder / "origin_compiled.so"
    library.write_bytes(b"machine code")
    spec = SimpleNamespace(origin=str(library), submodule_search_locations=None)
    monkeypatch.setitem(sys.modules, "origin_compiled", SimpleNamespace(__spec__=spec, X=1))  # type: ignore[arg-type]
    found, _ = of(folder, "from origin_compiled import X")
    assert found.files["origin_compiled"] == sha256(library)
    assert found.unknown == ["what origin_compiled uses cannot be read from origin_compiled.so"]


def test_the_policys_own_distribution_counts_by_version_and_by_its_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "origin_plug.py").write_text(POLICY.format(imports=""), encoding="utf-8")
    (folder / "origin_plug.json").write_text("{}", encoding="utf-8")
    about = folder / "origin_plug-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: origin-plug\nVersion: 1.5\n")
    (about / "entry_points.txt").write_text("[moesim.policies]\neviction.plugged = origin_plug:P\n")
    (about / "RECORD").write_text(
        "origin_plug.py,,\norigin_plug.json,,\norigin_plug-1.5.dist-info/METADATA,,\n"
        "__pycache__/origin_plug.cpython-311.pyc,,\n../../bin/plug,,\n"
    )
    registry._names.cache_clear()
    module._distributions.cache_clear()
    try:
        found = origin("eviction", "plugged")
        assert found is not None
        assert found.packages == {"origin-plug": "1.5"}
        assert {*found.files} == {"origin_plug.py", "origin_plug.json"}
        assert found.files["origin_plug.json"] == sha256(folder / "origin_plug.json")
    finally:
        monkeypatch.undo()
        registry._names.cache_clear()
        module._distributions.cache_clear()
        module._origin.cache_clear()


def test_moesims_own_code_counts_without_what_only_shows_results() -> None:
    before = module.own_code()
    root = Path(module.__file__).parents[1]
    listed = {path.name for package in module.OWN for path in (root / package).iterdir()}
    assert {*module.SHOWS_ONLY} <= listed
    assert len(before) == 64
