"""What other projects expect to find in a repository is there, and says what is true."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import simulator
from tests.places import ROOT

GITHUB = ROOT / ".github"
FORMS = sorted(path.name for path in (GITHUB / "ISSUE_TEMPLATE").iterdir())
REQUIRED = {"cff-version", "message", "title", "authors"}
"""Of a CFF 1.2.0: https://github.com/citation-file-format/citation-file-format, schema-guide.md."""


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def words(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", words("Makefile"), re.MULTILINE))


def test_the_citation_is_valid_and_of_this_version() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    cited = read("CITATION.cff")
    assert {*cited} >= REQUIRED | {"abstract", "version", "license", "type"}
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert cited["authors"] == [{"name": "The moesim authors"}]
    assert setup["metadata"]["version"] == "attr: simulator.__version__"
    assert cited["version"] == simulator.__version__
    assert cited["license"] == setup["metadata"]["license_expression"]
    assert f"## [{cited['version']}] - {cited['date-released']}" in words("CHANGELOG.md")


def test_the_workflow_runs_everything_on_the_oldest_and_a_newer_python() -> None:
    job = read(".github/workflows/ci.yml")["jobs"]["everything"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    actions = [step["uses"] for step in job["steps"] if "uses" in step]
    assert actions
    assert [action for action in actions if not re.fullmatch(r"actions/[\w-]+@v\d+", action)] == []


@pytest.mark.parametrize("name", FORMS)
def test_a_form_asks_for_something(name: str) -> None:
    form = read(f".github/ISSUE_TEMPLATE/{name}")
    assert form["name"]
    assert form["description"]
    asked = [field["attributes"]["label"] for field in form["body"]]
    assert len(asked) == len({*asked}) == len({field["id"] for field in form["body"]})
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_forms_ask_for_what_a_maintainer_needs() -> None:
    asked = {
        name: {field["id"] for field in read(f".github/ISSUE_TEMPLATE/{name}")["body"]} for name in FORMS
    }
    assert asked["bug.yml"] >= {"command", "experiment", "version", "happened"}
    assert asked["number.yml"] >= {"measured", "source"}
    assert asked["system.yml"] >= {"name", "source"}


def test_the_pull_request_template_names_what_is_there() -> None:
    named = re.findall(r"`([^`]+)`", words(".github/pull_request_template.md"))
    makes = [name.removeprefix("make ") for name in named if name.startswith("make ")]
    assert {*makes} and {*makes} <= targets()
    assert [name for name in named if "." in name and not (ROOT / name).exists()] == []


def test_hooks_run_the_linters_of_make_lint() -> None:
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    commands = [shlex.split(hook["entry"]) for hook in hooks]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    assert [command[0] for command in commands if shutil.which(command[0], path=path) is None] == []
    linters = re.findall(
        r"^\t\$\(BIN\)/(ruff check|ruff format|mypy|lint-imports)", words("Makefile"), re.MULTILINE
    )
    assert [" ".join(command[:2]) if command[0] == "ruff" else command[0] for command in commands] == linters


def test_security_says_where_to_report_and_what_is_outside() -> None:
    text = words("SECURITY.md")
    assert {"How to report", "What is outside"} <= {*re.findall(r"^## (.+)$", text, re.MULTILINE)}
    for word in ("pickle", "opcodes", "policy is Python code", "advisory"):
        assert word in text


def test_make_help_lists_every_target() -> None:
    first = words("Makefile").splitlines()[0]
    assert {*re.findall(r"[a-z]+", first.split(":")[0].removeprefix("# make"))} == targets() - {
        "help",
        "env",
        "stale",
    }


def test_ci_demands_coverage_of_engine_and_policies() -> None:
    demanded = tomllib.loads(words(".ci/coverage.toml"))["tool"]["coverage"]
    assert demanded["run"]["branch"] is True
    assert demanded["run"]["source"] == ["simulator.engine", "policies"]
    assert [path for path in demanded["run"]["omit"] if not (ROOT / path).is_file()] == []
    assert demanded["report"]["fail_under"] > 90


def test_ci_measures_some_tests_and_runs_all() -> None:
    """What is measured and what is not are one list, taken and left out."""
    script = words(".ci/run")
    measured = re.findall(r"^measured=\$\((.*)\)$", script, re.MULTILINE)[0]
    bash = str(shutil.which("bash"))
    listed = subprocess.run([bash, "-c", measured], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tests/engine/test_engines_agree.py" in listed.stdout.split()
    given = re.findall(r"^make test .*TESTS=\"(.*)\"$", script, re.MULTILINE)
    assert given == [
        "$(printf -- '--ignore=%s ' $measured)",
        "$(echo $measured) --cov --cov-config=.ci/coverage.toml",
    ]
