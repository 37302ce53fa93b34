"""The package list is the tree, and what is installed finds its data: from a wheel and from a checkout."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import simulator
from simulator.data import SUFFIX
from tests.places import ROOT

KINDS = tuple(SUFFIX)
IGNORED = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", "out", "tests", "docs")
REPORT = """
import simulator, policies
from simulator.data import folder
print(simulator.__version__)
for kind in {kinds}:
    print(folder(kind).resolve(), *sorted(path.name for path in folder(kind).iterdir()), sep="|")
"""


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(section: str, option: str) -> list[str]:
    return setup_cfg()[section][option].split("\n")[1:]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python_of(environment: Path) -> Path:
    return environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def shipped(kind: str) -> list[str]:
    """Return what git would keep of a data folder: no hidden files, no leftovers."""
    files = (ROOT / kind).rglob("*")
    return sorted(
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.is_file() and not path.name.startswith(".")
    )


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout: building writes beside the sources."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("packaging") / "moesim", ignore=IGNORED))


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("wheel")
    run(
        *(
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            built,
            ".",
        ),
        cwd=sources,
    )
    return next(built.glob("*.whl"))


def environment_with(where: Path, wheel: Path) -> Path:
    """Return the Python of a fresh environment that holds our wheel and nothing else."""
    venv.create(where, with_pip=False, symlinks=sys.platform != "win32")
    python = python_of(where)
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel),
        cwd=where,
    )
    return python


def test_package_list_is_the_tree() -> None:
    code = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("simulator", "policies")
        for path in (ROOT / top).rglob("*.py")
    }
    data = {f"simulator.data.{kind}" for kind in KINDS}
    systems = {"policies.systems"} if any((ROOT / "policies" / "systems").glob("*.yaml")) else set()
    listed = lines("options", "packages")
    assert sorted(listed) == sorted(code | data | systems)
    assert len(listed) == len(set(listed))


def test_every_package_has_an_init() -> None:
    data = {f"simulator.data.{kind}" for kind in KINDS} | {"policies.systems"}
    folders = [ROOT.joinpath(*name.split(".")) for name in lines("options", "packages") if name not in data]
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_data_folder_is_mapped_into_the_wheel() -> None:
    mapped = dict(line.split(" = ") for line in lines("options", "package_dir"))
    assert mapped == {f"simulator.data.{kind}": kind for kind in KINDS}


def test_wheel_holds_every_data_file(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    wanted = [f"simulator/data/{path}" for kind in KINDS for path in shipped(kind)]
    assert sorted(set(wanted) - set(names)) == []
    code = [
        path.relative_to(ROOT).as_posix()
        for top in ("simulator", "policies")
        for path in (ROOT / top).rglob("*")
    ]
    kept = (".py", ".yaml", ".mplstyle", ".typed", ".j2", ".css", ".js")
    assert sorted({name for name in code if name.endswith(kept)} - set(names)) == []
    assert not [name for name in names if not name.startswith(("simulator/", "policies/", "moesim-"))]


def test_wheel_in_a_fresh_environment_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    python = environment_with(tmp_path / "environment", wheel)
    version, *found = run(python, "-c", REPORT.format(kinds=KINDS), cwd=tmp_path).splitlines()
    assert version == simulator.__version__
    for kind, line in zip(KINDS, found, strict=True):
        folder, *names = line.split("|")
        assert Path(folder).parts[-3:] == ("simulator", "data", kind)
        assert Path(folder).is_relative_to((tmp_path / "environment").resolve())
        direct = {Path(path).name for path in shipped(kind) if len(Path(path).parts) == 2}
        assert direct <= set(names)


def test_editable_install_finds_the_data_of_the_checkout(sources: Path, tmp_path: Path) -> None:
    build = f"import setuptools.build_meta as backend; backend.build_editable({str(tmp_path)!r})"
    run(sys.executable, "-c", build, cwd=sources)
    python = environment_with(tmp_path / "environment", next(tmp_path.glob("*.whl")))
    version, *found = run(python, "-c", REPORT.format(kinds=KINDS), cwd=tmp_path).splitlines()
    assert version == simulator.__version__
    assert [line.split("|")[0] for line in found] == [str((sources / kind).resolve()) for kind in KINDS]


def test_what_is_imported_is_required() -> None:
    """Every third-party import is a dependency, and every dependency is imported."""
    imported = set()
    for path in (path for top in ("simulator", "policies") for path in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
    third_party = imported - set(sys.stdlib_module_names) - {"simulator", "policies"}
    extras = {
        "record": {"torch", "transformers"},
        "dask": {"distributed"},
        "tune": {"optuna"},
        "validate": {"scipy"},
    }
    required = {re.split(r"[<>=]", line)[0] for line in lines("options", "install_requires")}
    assert {
        {"pyyaml": "yaml", "pillow": "PIL"}.get(name, name) for name in required
    } == third_party - set.union(*extras.values())
    for extra, packages in extras.items():
        assert {re.split(r"[<>=]", line)[0] for line in lines("options.extras_require", extra)} == packages


def test_makefile_ci_and_metadata_agree_on_python() -> None:
    oldest = setup_cfg()["options"]["python_requires"].removeprefix(">=")
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert tools["mypy"]["python_version"] == oldest
    assert tools["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert f"Python >= {oldest}" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_changelog_knows_the_version() -> None:
    assert f"## [{simulator.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
