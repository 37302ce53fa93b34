"""The documents are true where a machine can tell: links, columns, settings, numbers of the recorded runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from policies.base import NEEDS
from policies.registry import AXES, BUILT_IN
from simulator.engine.plan import LinkPlan, MachinePlan, Overhead, RuntimePlan
from simulator.experiment.schema import Experiment
from simulator.results.metrics import METRICS
from simulator.results.summary import FLAGS, IDENTITY
from simulator.runs.experiment import run_experiment
from simulator.trace.columns import OPTIONAL, REQUIRED
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from simulator.trace.parquet import write_trace

ROOT = Path(__file__).resolve().parent.parent
VALIDATION = "docs/background/validation.md"
KINDS = ("measured", "published")
"""Pages about rows, and what README says of them: tests/validate/rows/test_shipped_pages.py."""
RECORDED = ROOT.parent / "shared" / "traces" / "bigmoe"
FOLDERS = (
    ".",
    "docs",
    "docs/adding",
    "docs/background",
    "docs/guides",
    "benchmarks",
    "traces",
    "models",
    "hardware_profiles",
    "experiments",
    "tests",
)
PAGES = sorted(path.relative_to(ROOT).as_posix() for name in FOLDERS for path in (ROOT / name).glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COLUMN = re.compile(r"^\| `(\w+)` \| (.+) \|$", re.MULTILINE)


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def words_in_code(*pages: str) -> set[str]:
    """Return the words that stand between backticks."""
    return {
        word for page in pages for code in CODE.findall(text(page)) for word in re.findall(r"[\w-]+", code)
    }


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in LINK.findall(FENCE.sub("", text(page))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_no_machine(page: str) -> None:
    assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", text(page)) == []


def test_every_guide_to_add_is_linked_from_contributing() -> None:
    guides = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "adding").glob("*.md")}
    assert guides
    assert guides <= {*LINK.findall(text("CONTRIBUTING.md"))}


def test_make_knows_the_targets_that_contributing_names() -> None:
    named = {*re.findall(r"^make (\w+)|`make (\w+)", text("CONTRIBUTING.md"), re.MULTILINE)}
    targets = {one or other for one, other in named}
    assert "test" in targets
    assert targets <= {*re.findall(r"^(\w+):", text("Makefile"), re.MULTILINE)}


def test_figures_are_small() -> None:
    figures = list((ROOT / "docs").rglob("*.png"))
    assert figures
    assert [path.name for path in figures if path.stat().st_size >= 500_000] == []


def test_every_column_is_defined_in_order() -> None:
    start = text("docs/design.md").index("### Results")
    defined = [name for name, _ in COLUMN.findall(text("docs/design.md")[start:])]
    assert defined == [*IDENTITY, *(metric.name for metric in METRICS), *FLAGS]


def settings_of(annotation: Any) -> Iterator[str]:
    """Return the names of all fields of the sections in an annotation, and of theirs."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield name
            yield from settings_of(field.annotation)
    for inner in get_args(annotation):
        yield from settings_of(inner)


def test_every_setting_of_an_experiment_is_mentioned() -> None:
    names = set(settings_of(Experiment))
    assert {"overhead", "evict_rate", "experts_per_layer", "kv", "grid"} <= names
    assert names - words_in_code("docs/design.md") == set()


@pytest.mark.parametrize("plan", [LinkPlan, RuntimePlan, Overhead, MachinePlan])
def test_every_rule_of_the_plan_is_mentioned(plan: type) -> None:
    names = {field.name for field in fields(plan)} - {"tiers", "links"}
    assert names - words_in_code("docs/timing.md") == set()


def test_every_axis_policy_and_need_is_mentioned() -> None:
    known = words_in_code("docs/design.md")
    assert {*AXES, *(name for table in BUILT_IN.values() for name in table), *NEEDS} - known == set()
    assert set(NEEDS) - words_in_code("docs/adding/policy.md") == set()


def test_every_column_of_a_trace_is_mentioned() -> None:
    assert {*REQUIRED, *OPTIONAL, "predicted_1", "predicted_weights_1"} - words_in_code(
        "docs/design.md"
    ) == set()


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded runs are not ours to ship")
@pytest.mark.parametrize(("name", "budget", "model"), [("qwen", 4000, "Qwen3"), ("gptoss", 3000, "gpt-oss")])
def test_the_page_says_what_the_phone_runs_give(name: str, budget: int, model: str, tmp_path: Path) -> None:
    trace = tmp_path / f"{name}.parquet"
    write_trace(import_trace(RECORDED / f"{name}.route.csv", "bigmoe", ImportOptions()), trace)
    sets = [f"trace={trace}", f"memory.cpu_expert_cache={budget} MiB", "figures=[]"]
    done = run_experiment(str(ROOT / "experiments" / "phone-bigmoe.yaml"), sets, tmp_path / "out")
    got = done.runs[0].metrics
    replayed = text(VALIDATION).split("\n## A phone, replayed\n")[1].split("\n## ")[0]
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in replayed.splitlines()]
    table = {row[0]: row for row in rows if len(row) == 5}
    recorded = next(i for i, cell in enumerate(table[""]) if model in cell)
    assert table["hits, whole run"][recorded] == f"{got['hits']:,} of {got['lookups']:,}"
    compute = float(str(got["dense_ms_per_token"])) + float(str(got["expert_compute_ms_per_token"]))
    said = [table[row][recorded + 1] for row in ("stall, ms", "management, ms", "compute, ms")]
    assert said == [
        f"{got['stall_ms_per_token']:.1f}",
        f"{got['overhead_ms_per_token']:.1f}",
        f"{compute:.1f}",
    ]
    assert table["tokens per second"][recorded + 1] == f"{got['tokens_per_second']:.3f}"
    prompt_s = float(str(got["ttft_ms_mean"])) / 1000
    assert abs(float(table["prompt pass, s"][recorded + 1]) - prompt_s) <= 0.05


def test_the_readme_says_of_trust_only_what_validation_says() -> None:
    said = text("README.md").split("\n## How far to trust it\n")[1].split("\n## ")[0]
    figures = re.findall(r"\d[\d,.]* %|(?:two|three|four|five|ten)(?: to \w+)? times", said)
    assert len(figures) > 6
    pages = "".join(text(page) for page in (VALIDATION, *(f"docs/background/{kind}.md" for kind in KINDS)))
    assert [figure for figure in figures if figure not in pages] == []
    flags = re.findall(r"^\| hit-or-miss flags that agree (.*)$", text(VALIDATION), re.MULTILINE)[0]
    pairs = re.findall(r"([\d,]+) of ([\d,]+)", flags)
    assert all(agree == recorded for agree, recorded in pairs)
    assert f"all {sum(int(n.replace(',', '')) for n, _ in pairs):,} recorded" in said


def test_the_readme_leads_to_every_page() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert "docs/guides/sweeps.md" in pages
    assert pages - {*LINK.findall(text("README.md"))} == set()
