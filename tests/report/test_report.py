"""The report of a results folder: complete, escaped, the same bytes each time, and usable in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from typer.testing import CliRunner

from simulator.cli.report import report
from simulator.errors import InputError
from simulator.plots import FIGURES
from simulator.report import figures, write_report
from simulator.runs.experiment import run_experiment
from simulator.trace.core import Trace
from simulator.trace.parquet import read_trace, write_trace
from tests.places import ROOT
from tests.report.browser import browser, complaints, requests, view

DESKTOP, PHONE = (1280, 900), (390, 844)
FIGURE = "tokens-per-second"
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</details></pre></table>",
    "{{7*7}}{% for %}",
    "]]><!-- ' & $x^{$ \\",
    "</style></title>",
)


def folder_of(path: Path, runs: int, names: tuple[str, ...] = ("lru",), **flags: str) -> Path:
    """Write a results folder with this many made-up runs, whose names go round; nothing but plain files."""
    rows, documents = [], []
    for n in range(runs):
        name = names[n % len(names)]
        rate = 10.0 + 7 * n % runs
        rows.append(
            {
                "run": n, "experiment": name, "system": name, "model": names[-1], "hardware": names[0],
                "trace": names[0], "seed": 0, "gpu_expert_cache_bytes": (1 + n // len(names)) << 30,
                "cpu_expert_cache_bytes": np.nan, "tokens_per_second": rate,
                "tpot_ms_mean": np.nan if n == 1 else 1000 / rate, "hit_rate": n / max(1, runs),
                "late_rate": 0.0, "dense_ms_per_token": 2.0, "expert_compute_ms_per_token": 3.0,
                "stall_ms_per_token": 1000 / rate - 5, "gate_mass_high": 1.0, "gate_mass_low": 0.0,
                "trace_synthetic": "false", "hardware_measured": "true", "assumed": "", "warnings": "",
                **flags,
            }
        )  # fmt: skip
        config = {"name": name, "description": name, "system": name, "policies": {"eviction": name}}
        documents.append(f"--- # run {n}\n{yaml.safe_dump(config)}")
    path.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(path / "summary.csv", index=False)
    (path / "config.resolved.yaml").write_text("".join(documents), encoding="utf-8")
    manifest = {
        "moesim_version": "0.1.0", "git_commit": "abc", "inputs": [f"trace {names[0]}: 0"], "runs": runs,
        "command": ["moesim", "run", *names], "packages": {"numpy": "2"},
    }  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of a sweep of four short runs of the bundled trace."""
    folder = tmp_path_factory.mktemp("report")
    trace = read_trace(ROOT / "traces" / "olmoe-mini.parquet")
    write_trace(_few(trace), folder / "t.parquet")
    text = {
        "name": "four-runs",
        "description": "Does a larger cache help LFU more than LRU?",
        "model": "olmoe-1b-7b",
        "hardware": "rtx4090-pcie4",
        "trace": str(folder / "t.parquet"),
        "sweep": {
            "grid": {
                "system": ["lru-on-demand", "lfu-per-layer"],
                "memory.gpu_expert_cache": [{"fraction": 0.25}, {"fraction": 0.5}],
            }
        },
    }
    (folder / "e.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    run_experiment(str(folder / "e.yaml"), [], folder / "out")
    return folder / "out"


@pytest.fixture(scope="session")
def whole(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report about them, with all figures."""
    return write_report(simulated, tmp_path_factory.mktemp("whole") / "r.html")


@pytest.fixture(autouse=True)
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw one figure only: `whole` has them all."""
    monkeypatch.setattr(figures, "FIGURES", {FIGURE: FIGURES[FIGURE]})


def _few(trace: Trace) -> Trace:
    from dataclasses import replace

    few = np.flatnonzero((trace.sequence < 2) & (trace.position < 40))
    names = ("sequence", "position", "phase", "experts", "weights")
    arrays = {name: getattr(trace, name)[few] for name in names}
    return replace(
        trace, **arrays, predicted=(), predicted_weights=(), gate_top=None, gate_top_p=None, token_id=None
    )


class Reader(HTMLParser):
    """Collects what a page is made of: its tags with their attributes, and its text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in {"script", "style"}:
            self.text += data


def read(folder: Path, **how: Any) -> Reader:
    return Reader(write_report(folder, **how).read_text(encoding="utf-8"))


def test_the_page_says_who_ran_what_on_what_and_with_which_result(simulated: Path, whole: Path) -> None:
    page = Reader(whole.read_text(encoding="utf-8"))
    summary = pd.read_csv(simulated / "summary.csv")
    manifest = json.loads((simulated / "manifest.json").read_text())
    for said in (
        "four-runs", "Does a larger cache help LFU more than LRU?", "olmoe-1b-7b", "rtx4090-pcie4",
        "in which not every number was measured (rtx4090-pcie4)", *manifest["inputs"], manifest["python"],
        "lru-on-demand", "lfu-per-layer", "policies.eviction",
    ):  # fmt: skip
        assert said in page.text, said
    assert "synthetic trace" not in page.text
    titles = [attrs.get("title") for tag, attrs in page.tags if tag == "td"]
    for value in summary["tokens_per_second"]:
        assert repr(value) in titles
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    left_out = page.text.partition("Not drawn: ")[2].partition("Configuration")[0]
    drawn = {str(image["alt"]).partition(":")[0].removeprefix("Figure ") for image in images}
    assert [name for name in FIGURES if name not in drawn and f"{name} (" not in left_out] == []
    assert {"tokens-per-second", "hit-rate", "latency-breakdown"} <= drawn
    assert all(
        str(image["src"]).startswith("data:image/png;base64,iVBOR") and image["alt"] for image in images
    )


def test_the_fastest_and_its_lead_are_those_of_the_summary(simulated: Path, whole: Path) -> None:
    summary = pd.read_csv(simulated / "summary.csv")
    text = re.sub(r"\s+", " ", Reader(whole.read_text(encoding="utf-8")).text)
    for _, runs in summary.groupby("gpu_expert_cache_bytes"):
        slow, fast = runs.sort_values("tokens_per_second").itertuples()
        lead = 100 * (fast.tokens_per_second / slow.tokens_per_second - 1)
        assert (
            f"{fast.tokens_per_second:#.3g} {100 * fast.hit_rate:.1f} % +{lead:.1f} % {slow.system}" in text
        )


def test_what_knows_the_future_is_named_but_not_ranked(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "r", 4, ("bound", "real"))
    summary = pd.read_csv(folder / "summary.csv")
    summary["tokens_per_second"] = [99.0, 20.0, 98.0, 30.0]

    def text(*known: str) -> str:
        summary.assign(knows_future=known).to_csv(folder / "summary.csv", index=False)
        return re.sub(r"\s+", " ", read(folder, force=True).text)

    none, some, all_ = (text(*known) for known in (["false"] * 4, ["true", "false"] * 2, ["true"] * 4))
    assert "bound is the fastest in all 2 cases." in none
    assert "Not ranked" not in none
    assert "real is the fastest in all 2 cases." in some
    assert "Not ranked, since it takes knowledge of the future: bound." in some
    assert "bound is the fastest in all 2 cases." in all_


def test_a_figures_data_can_be_saved_from_the_page(simulated: Path, whole: Path) -> None:
    from base64 import b64decode

    page = Reader(whole.read_text(encoding="utf-8"))
    links = {attrs["download"]: str(attrs["href"]) for tag, attrs in page.tags if "download" in attrs}
    csv = b64decode(unquote_to_bytes(links["tokens-per-second.csv"].partition(",")[2])).decode()
    rates = pd.read_csv(simulated / "summary.csv")["tokens_per_second"]
    assert sorted(map(repr, rates)) == sorted(line.rsplit(",", 1)[-1] for line in csv.splitlines()[1:])


def test_names_from_files_are_text_and_nothing_else(tmp_path: Path) -> None:
    notes = {"warnings": " | ".join(HOSTILE), "assumed": HOSTILE[0], "trace_synthetic": "true"}
    page = read(folder_of(tmp_path / "r", 6, HOSTILE, **notes))
    plain = read(
        folder_of(tmp_path / "plain", 6, tuple("abcdef"), **{**notes, "warnings": "a", "assumed": "b"})
    )
    kinds = {"script", "style", "img", "iframe", "object", "link", "base", "form", "svg"}
    for kind in kinds:
        assert sum(tag == kind for tag, _ in page.tags) == sum(tag == kind for tag, _ in plain.tags), kind
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name == "style"]
    for name in HOSTILE:
        assert page.text.count(name) >= 8, name


def test_nothing_is_loaded_and_the_policy_allows_only_the_pages_own_script_and_style(whole: Path) -> None:
    from base64 import b64encode
    from hashlib import sha256

    text = whole.read_text(encoding="utf-8")
    page = Reader(text)
    for _, attrs in page.tags:
        for name in ("src", "href"):
            assert str(attrs.get(name) or "#").startswith(("data:", "#"))
    policy = next(str(a["content"]) for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        inline = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        assert len(inline) == 1
        assert b64encode(sha256(inline[0].encode()).digest()).decode() in policy
    assert "url(" not in text.partition("</style>")[0]


def test_the_same_folder_gives_the_same_bytes_wherever_they_go(simulated: Path, tmp_path: Path) -> None:
    first, second = (write_report(simulated, tmp_path / name).read_bytes() for name in ("a.html", "b/c.html"))
    assert first == second
    assert str(tmp_path).encode() not in first


@pytest.mark.parametrize("runs", [1, 300])
def test_every_run_has_a_row_and_a_configuration(tmp_path: Path, runs: int) -> None:
    page = read(folder_of(tmp_path / "r", runs, ("lru", "lfu", "hobbit")))
    assert sum("row" in str(a.get("scope")) for _, a in page.tags) >= runs
    assert sum(a.get("class") == "run" for tag, a in page.tags if tag == "details") == runs
    assert ("nothing to be compared with" in page.text) == (runs == 1)


def test_warnings_and_assumptions_come_once_with_how_many_runs_they_concern(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "r", 5, ("a", "b"), hardware_measured="false", assumed="guessed")
    frame = pd.read_csv(folder / "summary.csv", keep_default_na=False)
    frame["trace_synthetic"] = ["true", *["false"] * 4]
    frame["software"], frame["software_measured"] = ["imp", *["ideal"] * 4], ["false", *[""] * 4]
    frame["warnings"] = ["too small | odd", "too small", "", "", ""]
    frame["gate_mass_low"] = [0.5, 0, 0, 0, 0]
    frame.drop(index=2).to_csv(folder / "summary.csv", index=False)
    configs = (folder / "config.resolved.yaml").read_text().split("--- #")[1:]
    (folder / "config.resolved.yaml").write_text("--- #" + "--- #".join(configs[:2] + configs[3:]))
    text = re.sub(r"\s+", " ", read(folder).text)
    for said in (
        "All runs use a hardware profile", "1 of 4 runs uses a synthetic trace",
        "1 of 4 runs uses software of which not every number was measured (imp).",
        "3 of 4 runs use no engine's software: bytes, flops and links only (ideal).",
        "warningtoo small2 of 4a, b", "warningodd1 of 4a", "assumedguessed4 of 4",
        "missing from these results: 2.",
        "1 of 4 runs changes the model's output: experts at lower precision.",
    ):  # fmt: skip
        assert said in text, said


def test_figures_that_cannot_be_drawn_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "r", 2)
    frame = pd.read_csv(folder / "summary.csv").drop(columns="dense_ms_per_token")
    frame.to_csv(folder / "summary.csv", index=False)
    monkeypatch.setattr(figures, "FIGURES", {name: FIGURES[name] for name in (FIGURE, "latency-breakdown")})
    page = read(folder)
    assert sum(tag == "img" for tag, _ in page.tags) == 1
    assert "latency-breakdown (is no summary of moesim: column 'dense_ms_per_token' is missing)" in page.text


def test_runs_without_any_rate_are_no_answer(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "r", 3, ("a", "b"))
    frame = pd.read_csv(folder / "summary.csv")
    frame["tokens_per_second"] = np.nan
    frame.to_csv(folder / "summary.csv", index=False)
    assert "No run has a number of tokens per second." in read(folder).text
    frame["throughput_tokens_per_second"] = [3.0, 2.0, 1.0]
    frame.to_csv(folder / "summary.csv", index=False)
    assert "prompt and decoded tokens/s" in read(folder).text


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("manifest.json", None, "holds no manifest.json"),
        ("manifest.json", b"{", "is no JSON"),
        ("manifest.json", b"[" * 99999, "is no JSON"),
        ("manifest.json", b"[]", "is no manifest of moesim"),
        ("summary.csv", None, "holds no summary.csv"),
        ("summary.csv", b"system,model,hardware,trace,run\na,b,c,d,\ne,f,g,h,1\n", "more than whole numbers"),
        ("summary.csv", b"system,model,hardware,trace\na,b,c,d\n", "column 'run' is missing"),
        ("config.resolved.yaml", None, "holds no config.resolved.yaml"),
        ("config.resolved.yaml", b"\xff", "is no text"),
        ("config.resolved.yaml", b"a: [", "is no YAML"),
        ("config.resolved.yaml", b"a: !!python/object/apply:os.system [true]", "is no YAML"),
        ("config.resolved.yaml", b"a: &b {c: *b}\n", "aliases count each time"),
        ("config.resolved.yaml", b"- 1\n", "holds more than resolved experiments"),
        ("config.resolved.yaml", b"a: 1\n", "holds 1 runs, and summary.csv 2"),
    ],
)
def test_what_is_no_results_folder_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, what: str
) -> None:
    folder = folder_of(tmp_path / "r", 2)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(what)) as error:
        write_report(folder)
    assert "\n" not in str(error.value)
    assert not (folder / "report.html").exists()


def test_a_report_is_replaced_and_any_other_file_only_with_force(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "r", 2)
    first = write_report(folder)
    content = first.read_bytes()
    assert write_report(folder).read_bytes() == content
    first.write_text("<html>mine</html>")
    with pytest.raises(InputError, match="is no report of moesim"):
        write_report(folder)
    assert first.read_text() == "<html>mine</html>"
    assert write_report(folder, force=True).read_bytes() == content
    with pytest.raises(InputError, match="is a folder"):
        write_report(folder, tmp_path, force=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.resolved.yaml", "manifest.json", "report.html", "summary.csv",
    ]  # fmt: skip


def test_the_command_says_where_the_page_is(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(report)
    folder = folder_of(tmp_path / "r", 1)
    done = CliRunner().invoke(app, [str(folder), "-o", str(tmp_path / "a" / "page.html")])
    assert done.output == f"{tmp_path / 'a' / 'page.html'}\n"
    assert (tmp_path / "a" / "page.html").read_text(encoding="utf-8").endswith("</html>\n")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def column(driver: Any, name: str) -> list[str]:
    """Return the exact values of a column in the order in which a reader sees its rows."""
    script = """
        const table = document.getElementById("table");
        const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.title === arguments[0]);
        return [...table.tBodies[0].rows].filter((row) => row.checkVisibility())
            .map((row) => row.cells[at].title || row.cells[at].textContent);
    """
    return list(driver.execute_script(script, name))


def sorted_by(driver: Any) -> dict[str, str]:
    script = """return [...document.querySelectorAll("th[aria-sort]")]
        .map((th) => [th.title, th.getAttribute("aria-sort")])"""
    return dict(driver.execute_script(script))


def button(driver: Any, name: str) -> Any:
    return driver.find_element("css selector", f'#table th[title="{name}"] button')


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_stays_within_the_screen_and_asks_for_nothing(
    chromium: Any, whole: Path, size: tuple[int, int], scheme: str
) -> None:
    view(chromium, *size, scheme)
    complaints(chromium), requests(chromium)
    chromium.get(whole.as_uri())
    chromium.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= size[0]
    assert chromium.execute_script("return innerWidth") == size[0]
    ready = "return [...document.images].every((image) => image.complete && image.naturalWidth > 100)"
    assert chromium.execute_script(ready)
    assert complaints(chromium) == []
    assert [url for url in requests(chromium) if not url.startswith("chrome://")] == [whole.as_uri()]
    loaded = chromium.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


def test_runs_are_sorted_by_click_and_by_keyboard(chromium: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    view(chromium, *DESKTOP)
    chromium.get(write_report(folder_of(tmp_path / "r", 12, ("b", "a10", "a9"))).as_uri())
    assert column(chromium, "run") == [str(n) for n in range(12)]
    assert sorted_by(chromium) == {}
    button(chromium, "tokens_per_second").click()
    rates = [float(value) for value in column(chromium, "tokens_per_second")]
    assert rates == sorted(rates)
    assert sorted_by(chromium) == {"tokens_per_second": "ascending"}
    button(chromium, "tokens_per_second").send_keys(Keys.ENTER)
    assert [float(value) for value in column(chromium, "tokens_per_second")] == rates[::-1]
    assert sorted_by(chromium) == {"tokens_per_second": "descending"}
    by_rate = column(chromium, "run")
    button(chromium, "system").send_keys(Keys.SPACE)
    names = column(chromium, "system")
    assert names == ["a9"] * 4 + ["a10"] * 4 + ["b"] * 4
    tied = [run for run, name in zip(column(chromium, "run"), names, strict=True) if name == "b"]
    assert tied == [run for run in by_rate if run in tied]  # stable
    for last in ("ascending", "descending"):
        button(chromium, "tpot_ms_mean").click()
        assert sorted_by(chromium) == {"tpot_ms_mean": last}
        assert column(chromium, "tpot_ms_mean")[-1] == ""


def test_runs_are_filtered_and_columns_chosen(chromium: Any, tmp_path: Path) -> None:
    view(chromium, *PHONE)
    chromium.get(write_report(folder_of(tmp_path / "r", 300, ("lru", "lfu", "hobbit", "x"))).as_uri())
    box = chromium.find_element("id", "filter")
    box.send_keys("HOBB 68719476736")
    assert column(chromium, "run") == ["254"]
    assert chromium.find_element("id", "count").text == "1 of 300 runs"
    box.clear()
    box.send_keys("nobody")
    assert column(chromium, "run") == []
    shown = "return [...document.querySelectorAll('#table th')].filter((th) => th.checkVisibility()).length"
    before = chromium.execute_script(shown)
    chromium.find_element("css selector", "details.columns summary").click()
    boxes = chromium.find_elements("css selector", "#columns input")
    next(one for one in boxes if not one.is_selected()).click()
    assert chromium.execute_script(shown) == before + 1
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_hostile_names_are_shown_and_do_nothing(chromium: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    notes = {"warnings": " | ".join(HOSTILE)}
    folder = folder_of(tmp_path / "r", 6, tuple(name * 5 for name in HOSTILE), **notes)
    view(chromium, *size)
    complaints(chromium)
    chromium.get(write_report(folder).as_uri())
    button(chromium, "system").click()
    assert sorted(column(chromium, "system")) == sorted(name * 5 for name in HOSTILE)
    labels = chromium.find_elements("css selector", "#columns label")
    assert len(labels) == len(chromium.find_elements("css selector", "#table th[title]:not([scope=row])"))
    assert chromium.execute_script("return document.title") == f"{HOSTILE[0] * 5}: moesim report"
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= size[0]
    assert complaints(chromium) == []
    with pytest.raises(NoAlertPresentException):
        chromium.switch_to.alert.accept()


def test_without_scripts_all_runs_are_there(chromium: Any, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "r", 3)
    view(chromium, *DESKTOP)
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chromium.get(write_report(folder).as_uri())
        rows = chromium.find_elements("css selector", "#table tbody tr")
        assert [row.is_displayed() for row in rows] == [True] * 3
        assert not chromium.find_element("id", "tools").is_displayed()
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    shutil.rmtree(folder)
