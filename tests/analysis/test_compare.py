"""Runs side by side: numbers, who is best, and every format."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from simulator.analysis.compare import compare as compared
from simulator.cli.compare import compare as command
from simulator.errors import InputError

GIB = 1 << 30
app = typer.Typer()
app.command()(command)


def results(
    folder: Path,
    systems: Sequence[str] = ("lru", "lfu"),
    sizes: Sequence[int] = (4,),
    seeds: Sequence[int] = (0,),
    sequences: int = 4,
) -> Path:
    """Write a folder; run n decodes one token of each sequence, in 100 / (n + 1) ms."""
    rows, passes = [], []
    for size in sizes:
        for system in systems:
            for seed in seeds:
                n = len(rows)
                ns = 100_000_000 // (n + 1)
                rows.append(
                    {
                        "run": n, "experiment": "e", "system": system, "model": "m_1", "hardware": "h",
                        "trace": "t", "seed": seed, "gpu_expert_cache_bytes": size * GIB,
                        "cpu_expert_cache_bytes": "", "tokens_per_second": 1e9 / ns, "hit_rate": 0.5,
                        "tpot_ms_p50": ns / 1e6, "tpot_ms_p95": "", "bytes_cpu_to_gpu": n * GIB,
                        "dense_ms_per_token": 1, "expert_compute_ms_per_token": 1,
                        "cpu_expert_wait_ms_per_token": 0, "stall_ms_per_token": 2 - n / 8,
                        "overhead_ms_per_token": n / 8, "gate_mass_low": n / 100,
                        "gate_mass_substituted": 0, "gate_mass_skipped": 0,
                        "trace_synthetic": True, "hardware_measured": False,
                        "assumed": "a threshold" if n == 1 else "", "warnings": "",
                    }
                )  # fmt: skip
                passes += [
                    {
                        "run": n, "pass": i, "sequence": i, "phase": "decode", "tokens": 1,
                        "start_ns": i * ns, "latency_ns": ns, "lookups": 4, "hits": 2,
                    }
                    for i in range(sequences)
                ]  # fmt: skip
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / "summary.csv", index=False)
    pd.DataFrame(passes).to_parquet(folder / "tokens.parquet")
    return folder


def said(*words: object) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words])
    if found.exception:
        raise found.exception
    return found.stdout


def test_the_table_has_what_tells_runs_apart_and_metrics(tmp_path: Path) -> None:
    found = compared([results(tmp_path / "r", sizes=(4, 8))])
    assert list(found.who) == ["system", "gpu_expert_cache_gib"]
    names = "tokens_per_second speed_up hit_rate tpot_ms_p50 stall_share gate_mass_lost"  # no p95: all empty
    assert found.metrics == names.split()
    table = found.table
    assert table["gpu_expert_cache_gib"].tolist() == [4, 4, 8, 8]
    assert table["speed_up"].tolist() == pytest.approx([1, 2, 1, 4 / 3])
    assert table["speed_up_low"].tolist() == pytest.approx([1, 2, 1, 4 / 3])  # all sequences are alike
    assert table["tokens_per_second_low"].tolist() == pytest.approx([10, 20, 30, 40])
    assert table["stall_share"].tolist() == pytest.approx([2 / 4, 1.875 / 4, 1.75 / 4, 1.625 / 4])
    assert table["gate_mass_lost"].tolist() == pytest.approx([0, 0.01, 0.02, 0.03])
    assert (found.baseline, found.blocks, found.notes) == ("lru", [2], [])


def test_the_best_is_that_of_a_panel_and_size_where_they_differ(tmp_path: Path) -> None:
    best = compared([results(tmp_path / "r", sizes=(4, 8))]).best
    assert (
        best["tokens_per_second"] == best["speed_up"] == best["tpot_ms_p50"] == best["stall_share"] == {1, 3}
    )
    assert best["gate_mass_lost"] == {0, 2}
    assert best["hit_rate"] == set()
    assert compared([tmp_path / "r"], metrics=["bytes_cpu_to_gpu"]).best == {"bytes_cpu_to_gpu": set()}


def test_seeds_are_averaged_and_paired(tmp_path: Path) -> None:
    table = compared([results(tmp_path / "r", seeds=(0, 1))]).table
    assert table["runs_averaged"].tolist() == [2, 2]
    assert table["tokens_per_second"].tolist() == pytest.approx([15, 35])
    assert table["speed_up"].tolist() == pytest.approx([1, (1 + 1 / 2) / (1 / 3 + 1 / 4)])


def test_several_folders_are_joined_each_with_its_own_baseline(tmp_path: Path) -> None:
    one, other = results(tmp_path / "a"), results(tmp_path / "b", systems=("lru", "lfu", "hobbit"))
    found = compared([one, other, one])
    assert found.table["folder"].tolist() == [str(one)] * 2 + [str(other)] * 3
    assert found.table["speed_up"].tolist() == pytest.approx([1, 2, 1, 2, 3])
    assert found.blocks == [2]


def test_a_folder_without_tokens_has_no_speed_up_unless_it_was_asked_for(tmp_path: Path) -> None:
    folder = results(tmp_path / "r")
    (folder / "tokens.parquet").unlink()
    found = compared([folder])
    assert "speed_up" not in found.table
    assert found.notes == [f"No speed-up: {folder}: holds no tokens.parquet."]
    with pytest.raises(InputError, match=r"holds no tokens.parquet"):
        compared([folder], baseline="lru")
    assert compared([folder], metrics=["tpot_ms_p50"]).notes == []


def test_a_single_run_and_a_single_sequence_say_why_something_is_missing(tmp_path: Path) -> None:
    assert compared([results(tmp_path / "a", systems=("lru",))]).notes == [
        "No speed-up: no run can be compared as there is only one."
    ]
    assert "No interval where fewer than 4 sequences" in said(results(tmp_path / "b", sequences=1))
    batch = results(tmp_path / "c")
    table = pd.read_parquet(batch / "tokens.parquet")
    table.assign(**{"pass": 0}).to_parquet(batch / "tokens.parquet")
    assert "No interval where sequences share passes" in said(batch)
    table.assign(phase="prefill").to_parquet(batch / "tokens.parquet")
    assert compared([batch]).notes == ["No speed-up: no run has decoded tokens."]
    table.drop(columns="hits").to_parquet(batch / "tokens.parquet")
    line = f"No speed-up: {batch / 'tokens.parquet'}: column 'hits' is missing."
    assert compared([batch, tmp_path / "a"]).notes == [line]


def test_each_folder_has_its_own_first_system_as_baseline_and_says_so(tmp_path: Path) -> None:
    one, other = results(tmp_path / "a"), results(tmp_path / "b", systems=("fiddler", "lru"))
    found = compared([one, other])
    assert found.table["speed_up"].tolist() == pytest.approx([1, 2, 1, 2])
    assert found.table["system"].tolist() == ["lru", "lfu", "fiddler", "lru"]
    assert (found.baseline, found.table["baseline"].tolist()) == (None, ["lru"] * 2 + ["fiddler"] * 2)
    assert found.notes == [f"Speed-ups are over lru in {one}, over fiddler in {other}."]
    assert "None" not in said(one, other)
    asked = compared([one, other], baseline="fiddler")
    assert asked.notes == [f"No speed-up in {one}: no run is of fiddler."]
    assert asked.table["speed_up"].tolist()[2:] == pytest.approx([1, 2])
    assert "baseline" not in compared([one, one]).table


def test_a_folder_that_sweeps_a_policy_is_compared_with_its_first_beside_one_of_systems(
    tmp_path: Path,
) -> None:
    one, other = results(tmp_path / "a"), results(tmp_path / "b", systems=("lru (modified)", "lru"))
    table = pd.read_csv(other / "summary.csv")
    table.insert(9, "policies.eviction", ["lfu", "lru"])
    table.to_csv(other / "summary.csv", index=False)
    found = compared([one, other])
    assert found.notes == [f"Speed-ups are over lru in {one}, over eviction lfu in {other}."]
    assert found.table["speed_up"].tolist() == pytest.approx([1, 2, 1, 2])
    assert found.table["system"].tolist() == ["lru", "lfu", "lru", "lru"]


def test_a_size_that_settles_a_key_of_each_folder_stands_for_it(tmp_path: Path) -> None:
    one, other = results(tmp_path / "a", sizes=(4, 8)), results(tmp_path / "b", sizes=(4,))
    table = pd.read_csv(one / "summary.csv")
    table.insert(9, "memory.gpu_expert_cache.fraction", [0.25, 0.25, 0.5, 0.5])
    table.to_csv(one / "summary.csv", index=False)
    assert list(compared([one, other]).who) == ["folder", "system", "gpu_expert_cache_gib"]


def test_runs_that_know_the_future_are_not_ranked(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", systems=("lru", "lfu", "oracle"))
    table = pd.read_csv(folder / "summary.csv")
    table.assign(knows_future=["false", "false", "true"]).to_csv(folder / "summary.csv", index=False)
    found = compared([folder])
    assert found.best["tokens_per_second"] == found.best["speed_up"] == {1}
    assert found.notes == ["Not ranked, since it takes knowledge of the future: oracle."]
    table.assign(knows_future="true").to_csv(folder / "summary.csv", index=False)
    assert compared([folder]).best["tokens_per_second"] == {2}


def test_other_workloads_are_not_ranked_together(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", systems=("lru", "lfu"), seeds=(0, 1))
    table = pd.read_csv(folder / "summary.csv").assign(seed=0)
    table.insert(9, "workload.batch_size", [1, 2, 1, 2])
    table.to_csv(folder / "summary.csv", index=False)
    found = compared([folder])
    assert found.table["workload.batch_size"].tolist() == list("1122")
    assert found.table["tokens_per_second"].tolist() == pytest.approx([10, 30, 20, 40])
    assert (found.blocks, found.best["tokens_per_second"]) == ([2], {1, 3})


def test_a_share_s_interval_stays_below_one(tmp_path: Path) -> None:
    folder = results(tmp_path / "r")
    table = pd.read_parquet(folder / "tokens.parquet")
    table["hits"] = [4, 4, 4, 1] * 2
    table.to_parquet(folder / "tokens.parquet")
    found = compared([folder]).table
    assert (found["hit_rate_low"] < 13 / 16).all()
    assert (found["hit_rate_high"] == 1).all()


def test_where_there_is_no_interval_neither_end_is_told(tmp_path: Path) -> None:
    found = compared([results(tmp_path / "r", sequences=2)]).table
    ends = [f"{name}_{end}" for name in ("tokens_per_second", "hit_rate") for end in ("low", "high")]
    assert found[ends].isna().all(axis=None)


def test_what_is_unknown_is_refused_with_a_guess(tmp_path: Path) -> None:
    folder = results(tmp_path / "r")
    with pytest.raises(InputError, match=r"unknown metric \('hit_rat'\); did you mean 'hit_rate'"):
        compared([folder], metrics=["hit_rat"])
    with pytest.raises(InputError, match=r"unknown metric \('warnings'\)"):
        compared([folder], metrics=["warnings"])  # text, all of it empty
    with pytest.raises(InputError, match="no run is of 'lr'; did you mean 'lru'"):
        compared([folder], baseline="lr")
    table = pd.read_csv(folder / "summary.csv")
    for runs in ([0, 0], [0, None], [0, 0.5]):
        table.assign(run=runs).to_csv(folder / "summary.csv", index=False)
        with pytest.raises(InputError, match=r"whole numbers|the same number"):
            compared([folder])
    with pytest.raises(InputError, match=r"holds no summary.csv"):
        compared([tmp_path])


NAMES = ("lru", r"a|b_c & <50 % #1 ${x}$ ~^\ [bold]*y*")


def test_text_says_names_as_they_are_and_what_to_know(tmp_path: Path) -> None:
    text = said(results(tmp_path / "r", systems=NAMES), "--metric", "speed_up")
    assert NAMES[1] in " ".join(text.split())
    assert re.search(r" 1\.00 .* 2\.00 ", " ".join(text.split()))
    assert "simulated, not measured" in text
    assert "synthetic" in text
    assert f"There are assumptions on {NAMES[1]}: see summary.csv." in " ".join(text.split())


def test_markdown_has_as_many_cells_in_every_row(tmp_path: Path) -> None:
    text = said(results(tmp_path / "r", systems=NAMES, sizes=(4, 8)), "--format", "markdown")
    rows = [line for line in text.split("\n") if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert len(rows) == 6
    assert r"a\|b\_c" in rows[3]
    assert "**20.00**" in rows[3]


def test_latex_is_escaped_and_balanced(tmp_path: Path) -> None:
    text = said(results(tmp_path / "r", systems=NAMES, sizes=(4, 8)), "--format", "latex")
    table, notes = text.split(r"\end{tabular}")
    name = r"a\textbar{}b\_c \& \textless{}50 \% \#1 \$\{x\}\$ "
    name += r"\textasciitilde{}\textasciicircum{}\textbackslash{} {[}bold{]}*y*"
    assert table.count(name) == 2
    assert r"\textbf{20.00}" in table
    assert [table.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 2, 1]
    rows = [line for line in table.split("\n") if line.endswith(r"\\") and "multicolumn" not in line]
    titles = re.findall(r"\\multicolumn{\d}{l}{\\emph{(.*)}}", table)
    assert titles == ["GPU expert cache 4 GiB", "GPU expert cache 8 GiB"]
    assert r"\shortstack[r]{decoded\\tokens/s}" in rows[0]
    assert " & .500 & " in rows[1]  # hit rate
    columns = re.match(r"\\begin{tabular}{(l+r+)}", table)
    assert columns is not None
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns[1])}
    for part in (table, notes):
        bare = re.sub(r"\\[&%$#_{}]", "", part)
        assert bare.count("{") == bare.count("}")
        assert not re.search(r"(?<!\\)[%$#_]", part)


def test_bold_is_explained_where_there_is_any(tmp_path: Path) -> None:
    folder = results(tmp_path / "r")
    for form in ("markdown", "latex"):
        assert "Bold: the best of those side by side" in said(folder, "--format", form)
        assert "Bold" not in said(folder, "--format", form, "--metric", "hit_rate")
    assert "Bold" not in said(folder)  # nothing is bold where there is no terminal


def test_words_in_text_break_at_hyphens_and_folders_at_what_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a-system-with-quite-a-long-name-of-many-parts-and-more", "lru-on-demand")
    folders = [results(tmp_path / name, systems=names, sizes=(4, 8)) for name in ("first", "second")]
    table = said(*folders).split("Speed-up")[0].split("All numbers")[0]
    assert str(tmp_path) not in table
    first = {line.split()[0] for line in table.split("\n") if line.strip() and "─" not in line}
    assert {"first", "second"} <= first
    cells = {cell for line in table.split("\n") for cell in line.split()}
    assert {"lru-on-", "demand"} <= cells
    monkeypatch.chdir(tmp_path / "first")
    titles = re.findall(r"emph{(.*)}}", said("../second", tmp_path / "first", "--format", "latex"))
    assert titles[0] == "second, GPU expert cache 4 GiB"


def test_no_number_is_cut_where_a_table_is_too_wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[command.__module__], "PAGE", 40)
    folder = results(tmp_path / "r", systems=("lru-on-demand", "a" * 30))
    text = said(folder)
    assert {"a" * 30, "20", "2.00", "0.5000", "0.4688"} <= set(text.split())
    assert "…" not in text


def test_csv_and_json_hold_numbers_in_full(tmp_path: Path) -> None:
    folder = results(tmp_path / "r")
    rows = list(csv.DictReader(io.StringIO(said(folder, "--format", "csv"))))
    assert [float(row["tokens_per_second"]) for row in rows] == [10, 20]
    found = json.loads(said(folder, "--format", "json", "--metric", "tpot_ms_p95", "--metric", "speed_up"))
    assert found["baseline"] == "lru"
    assert [row["tpot_ms_p95"] for row in found["runs"]] == [None, None]
    assert [row["speed_up"] for row in found["runs"]] == [1, 2]
    assert any("synthetic" in note for note in found["notes"])


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv", "json"])
def test_a_file_holds_the_same_bytes_each_time(tmp_path: Path, form: str) -> None:
    folder = results(tmp_path / "r", sizes=(4, 8))
    contents = []
    for name in "ab":
        assert said(folder, "--format", form, "-o", tmp_path / name / "table").strip().endswith("table")
        contents.append((tmp_path / name / "table").read_bytes())
    assert contents[0] == contents[1] == said(folder, "--format", form).encode()
    with pytest.raises(InputError, match="is a folder"):
        said(folder, "--format", form, "-o", tmp_path / "a")
    with pytest.raises(InputError, match="is there already; name another file, or replace it with --force"):
        said(folder, "--format", form, "-o", tmp_path / "a" / "table")
    said(folder, "--format", form, "-o", tmp_path / "a" / "table", "--force")
