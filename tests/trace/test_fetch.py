"""Fetching published traces through a network's faults."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from simulator.trace import download
from simulator.trace.find import find_trace
from simulator.trace.footer import read_trace_header
from simulator.trace.importers.registry import import_trace
from simulator.trace.parquet import read_trace
from tests.places import ROOT
from tests.trace.fetching import (
    CONTENT,
    DOWNLOADED,
    HASH,
    N_TOKENS,
    PARTIAL,
    TRACE,
    contents,
    moesim,
    refused,
    write_catalogue,
)
from tests.trace.loopback import Site, serving

pytestmark = pytest.mark.usefixtures("cache")


def test_fetched_trace_is_the_imported_one(tiny: Site, cache: Path, tmp_path: Path) -> None:
    assert "[to fetch, " in moesim("list", "traces")
    said = moesim("trace", "fetch", "tiny")
    assert said.splitlines() == [f"{cache / TRACE}: licence CC0, from https://example.org/tiny"]
    assert contents(cache) == [DOWNLOADED, TRACE]
    source = tmp_path / "r.csv"
    source.write_bytes(CONTENT)
    wanted, got = import_trace(source, "bigmoe"), read_trace(find_trace("tiny"))
    for name in (
        "sequence",
        "position",
        "phase",
        "experts",
        "weights",
        "recorded_resident",
        "recorded_bytes",
    ):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
    assert got.header.licence == "CC0"
    assert got.header.notes.endswith("; fetched from https://example.org/tiny")
    (line,) = (line for line in moesim("list", "traces").splitlines() if line.startswith("tiny"))
    assert line.split(maxsplit=1)[1] == "[fetched] my-moe: 2 MoE layers x 9 experts, top 3; an example"


def test_what_is_there_is_not_asked_for_again(tiny: Site, cache: Path) -> None:
    moesim("trace", "fetch", "tiny")
    assert tiny.asked == [("/r.csv", None)]
    assert moesim("trace", "fetch", "tiny") == f"{cache / TRACE}: already there\n"
    (cache / TRACE).unlink()
    moesim("trace", "fetch", "tiny")  # the files are there, and their hashes right
    assert tiny.asked == [("/r.csv", None)]


def test_twice_the_same_bytes(tiny: Site, cache: Path, tmp_path: Path) -> None:
    moesim("trace", "fetch", "tiny")
    moesim("trace", "fetch", "tiny", "--cache", str(tmp_path / "other"))
    assert (cache / TRACE).read_bytes() == (tmp_path / "other" / TRACE).read_bytes()


def test_file_that_is_there_but_wrong_is_fetched_again(tiny: Site, cache: Path) -> None:
    (cache / DOWNLOADED).parent.mkdir(parents=True)
    (cache / DOWNLOADED).write_text("something else")
    moesim("trace", "fetch", "tiny")
    assert (cache / DOWNLOADED).read_bytes() == CONTENT


def test_wrong_hash_is_refused_and_removed(tiny: Site, cache: Path) -> None:
    changed = CONTENT.replace(b"0.5", b"0.6")
    tiny.files["/r.csv"] = changed
    line = refused("trace", "fetch", "tiny")
    assert line.startswith(f"{tiny.address}/r.csv: ")
    assert HASH in line
    assert hashlib.sha256(changed).hexdigest() in line
    assert contents(cache) == []


def test_cut_connection_is_resumed(tiny: Site, cache: Path) -> None:
    tiny.fault = "cut"
    line = refused("trace", "fetch", "tiny")
    assert f"put the file at {cache / DOWNLOADED} by hand" in line
    assert contents(cache) == [PARTIAL]
    have = (cache / PARTIAL).stat().st_size
    assert len(CONTENT) // 2 - download.BLOCK <= have <= len(CONTENT) // 2
    assert have > 0
    tiny.fault = ""
    moesim("trace", "fetch", "tiny")
    assert tiny.asked == [("/r.csv", None), ("/r.csv", f"bytes={have}-")]
    assert (cache / DOWNLOADED).read_bytes() == CONTENT
    assert contents(cache) == [DOWNLOADED, TRACE]


def begun(cache: Path, content: bytes) -> None:
    (cache / PARTIAL).parent.mkdir(parents=True)
    (cache / PARTIAL).write_bytes(content)


def test_server_without_ranges_starts_over(tiny: Site, cache: Path) -> None:
    begun(cache, CONTENT[:999])
    tiny.fault = "no-range"
    moesim("trace", "fetch", "tiny")
    assert tiny.asked == [("/r.csv", "bytes=999-")]
    assert (cache / DOWNLOADED).read_bytes() == CONTENT


def test_range_that_was_not_asked_for_is_refused(tiny: Site, cache: Path) -> None:
    begun(cache, CONTENT[:999])
    tiny.fault = "other-range"
    assert "the server says 206" in refused("trace", "fetch", "tiny")
    assert (cache / PARTIAL).read_bytes() == CONTENT[:999]


def test_partial_that_is_whole_needs_no_network(tiny: Site, cache: Path) -> None:
    begun(cache, CONTENT)
    moesim("trace", "fetch", "tiny")
    assert tiny.asked == []
    assert contents(cache) == [DOWNLOADED, TRACE]


def test_partial_that_is_too_long_or_wrong_does_not_stay(tiny: Site, cache: Path) -> None:
    begun(cache, CONTENT + b"more")
    moesim("trace", "fetch", "tiny")
    assert tiny.asked == [("/r.csv", None)]
    shutil.rmtree(cache)
    begun(cache, b"x" * 999)
    assert "does not match" in refused("trace", "fetch", "tiny")
    assert contents(cache) == []
    moesim("trace", "fetch", "tiny")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("status 404", "the server says 404 Not Found"),
        ("status 503", "the server says 503 Service Unavailable"),
        ("redirect file:///etc/hostname", "an address that is neither http nor https"),
        ("redirect ftp://127.0.0.1/r.csv", "an address that is neither http nor https"),
        ("redirect /r.csv", "from one address to another without end"),
        ("redirect http://[", "it leads to what is no address"),
    ],
)
def test_missing_file_and_foreign_redirect(tiny: Site, cache: Path, fault: str, told: str) -> None:
    tiny.fault = fault
    line = refused("trace", "fetch", "tiny")
    assert line.startswith(f"{tiny.address}/r.csv: ")
    assert told in line
    assert contents(cache) == []


def test_redirect_is_followed(tiny: Site) -> None:
    tiny.fault = "redirect /r.csv/moved"
    moesim("trace", "fetch", "tiny")
    assert [path for path, _ in tiny.asked] == ["/r.csv", "/r.csv/moved"]


def test_stall_is_given_up(tiny: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALL_S", 0.2)
    tiny.fault = "stall"
    began = time.monotonic()
    assert "lost" in refused("trace", "fetch", "tiny")
    assert time.monotonic() - began < 2
    assert contents(cache) == [PARTIAL]


def test_larger_than_stated_is_not_taken(tiny: Site, cache: Path) -> None:
    tiny.fault = "endless"
    assert f"larger than the {len(CONTENT):,} bytes" in refused("trace", "fetch", "tiny")
    assert contents(cache) == []


def test_shorter_than_stated_is_not_taken(tiny: Site, cache: Path) -> None:
    tiny.files["/r.csv"] = b"<html>please log in</html>"
    assert f"26 of {len(CONTENT):,} bytes came" in refused("trace", "fetch", "tiny")
    assert not (cache / TRACE).exists()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_offline_says_how_to_go_on_by_hand(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://127.0.0.1:{closed_port()}"
    write_catalogue(tmp_path, monkeypatch, address)
    line = refused("trace", "fetch", "tiny")
    assert line == (
        f"{address}/r.csv: cannot be reached, or the connection was lost; "
        f"try again, or put the file at {cache / DOWNLOADED} by hand and try again"
    )
    (cache / DOWNLOADED).write_bytes(CONTENT)
    moesim("trace", "fetch", "tiny")
    assert read_trace_header(cache / TRACE).model == "My-MoE"


def test_server_that_is_not_who_it_says(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    write_catalogue(tmp_path, monkeypatch, site.address.replace("http:", "https:"))
    assert "its certificate cannot be verified" in refused("trace", "fetch", "tiny")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_one_line(tiny: Site, cache: Path) -> None:
    (cache / PARTIAL).parent.mkdir(parents=True)
    (cache / PARTIAL).symlink_to("/dev/full")
    line = refused("trace", "fetch", "tiny")
    assert line.startswith(f"{cache / PARTIAL}: No space left on device")
    assert not (cache / TRACE).exists()


def test_unverified_is_said_and_kept_with_the_trace(
    tmp_path: Path, site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalogue(tmp_path, monkeypatch, site.address, sha256=None)
    assert ", unverified]" in moesim("list", "traces")
    begun(cache, CONTENT[:999])
    said = moesim("trace", "fetch", "tiny")
    assert "moesim: tiny: unverified" in said
    assert f"{HASH}  r.csv\n" in said
    assert f"sha256 of r.csv, not verified: {HASH}" in read_trace_header(cache / TRACE).notes
    assert site.asked == [("/r.csv", None)]  # nothing would notice halves of two versions: no range


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"tokens": 7},
            f"layers, experts, k and tokens are (2, 9, 3, {N_TOKENS}); the catalogue says (2, 9, 3, 7)",
        ),
        ({"shape": {"moe_layers": 2, "experts": 8, "top_k": 3}}, "the catalogue says (2, 8, 3"),
        ({"importer": {"format": "qwen1.5-json", "source": "r.csv"}}, "not JSON"),
    ],
)
def test_files_that_are_something_else_make_no_trace(
    tmp_path: Path, site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch, change: dict, told: str
) -> None:
    write_catalogue(tmp_path, monkeypatch, site.address, **change)
    assert told in refused("trace", "fetch", "tiny")
    assert contents(cache) == [DOWNLOADED]


def test_folder_of_files_with_options(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {f"/d/{name}": f"0\t{i}\t\t0.5\t0.4\n".encode() for i, name in ((1, "a.txt"), (2, "b.txt"))}
    with serving(texts) as site:
        files = [
            {"path": f"expert_weights_{i}.txt", "url": url, "bytes": len(text), "sha256": None}
            for i, (url, text) in enumerate(texts.items(), start=1)
        ]
        write_catalogue(
            tmp_path,
            monkeypatch,
            site.address,
            files=files,
            tokens=None,
            shape={"moe_layers": 2, "experts": 4, "top_k": 2},
            importer={"format": "esft", "phase": "decode", "n_experts": 4, "top_k": 2, "model": "toy"},
        )
        moesim("trace", "fetch", "tiny")
    trace = read_trace(cache / TRACE)
    assert trace.experts.tolist() == [[[0, 1], [0, 2]]]
    assert (trace.header.model, trace.phase.tolist()) == ("toy", [1])


def test_out_is_a_copy_that_replaces_nothing_unasked(tiny: Site, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.parquet"
    assert moesim("trace", "fetch", "tiny", "--out", str(out)).startswith(f"{out}: licence CC0")
    assert out.read_bytes() == (cache / TRACE).read_bytes()
    out.write_text("mine")
    assert "is there already" in refused("trace", "fetch", "tiny", "--out", str(out))
    assert out.read_text() == "mine"
    moesim("trace", "fetch", "tiny", "--out", str(out), "--force")
    assert out.read_bytes() == (cache / TRACE).read_bytes()
    assert [path.name for path in tmp_path.glob(".*")] == []


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "simulator.cli", *arguments]


def test_two_at_once_fetch_once(tiny: Site, cache: Path) -> None:
    tiny.fault = "slow"
    both = [
        subprocess.Popen(command("trace", "fetch", "tiny"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert min(line.partition(": ")[2] for line in said) == "already there\n"
    assert tiny.asked == [("/r.csv", None)]
    assert contents(cache) == [DOWNLOADED, TRACE]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_leaves_the_partial_and_goes_on(tiny: Site, cache: Path, how: signal.Signals) -> None:
    tiny.fault = "stall"
    process = subprocess.Popen(command("trace", "fetch", "tiny"), cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (
        (cache / PARTIAL).exists() and (cache / PARTIAL).stat().st_size
    ):
        time.sleep(0.02)
    process.send_signal(how)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert b"Traceback" not in said
    assert not (cache / TRACE).exists()
    assert not (cache / DOWNLOADED).exists()
    have = (cache / PARTIAL).stat().st_size
    tiny.fault = ""
    moesim("trace", "fetch", "tiny")
    assert tiny.asked[-1] == ("/r.csv", f"bytes={have}-")
    assert (cache / DOWNLOADED).read_bytes() == CONTENT


def test_an_experiment_runs_on_a_fetched_trace(tiny: Site, tmp_path: Path) -> None:
    said = [
        "--set",
        "trace=tiny",
        "--set",
        "model=trace",
        "--set",
        "sweep={}",
        "--out",
        str(tmp_path / "out"),
    ]
    arguments = ["run", "experiments/quickstart.yaml", *said, "--set", "figures=[]"]
    assert "moesim trace fetch tiny" in refused(*arguments)
    moesim("trace", "fetch", "tiny")
    moesim(*arguments)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())
