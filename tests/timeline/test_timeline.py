"""Timelines: traces that viewers can open, and that add up to what the results say of the same passes."""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from io import StringIO
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.assemble.library import Library
from simulator.engine.demand import Record
from simulator.errors import InputError
from simulator.runs.play import prepare
from simulator.timeline import choose_run, write_timeline
from simulator.timeline.make import passes_of
from simulator.timeline.trace_events import TraceEvents
from tests.command_line import moesim
from tests.places import ROOT

LABELS = ("dense", "expert_compute", "cpu_expert_wait", "overhead", "host")
BASE: dict[str, Any] = {
    "name": "test",
    "model": "olmoe-1b-7b",
    "hardware": "rtx4090-pcie4",
    "trace": "olmoe-mini",
    "workload": {"max_sequences": 2},
    "memory": {"gpu_expert_cache": {"fraction": 0.4}},
    "system": "lru-on-demand",
}
IN_DRAM = {"gpu_expert_cache": {"fraction": 0.3}, "cpu_expert_cache": {"fraction": 0.5}}
OVERHEAD = {"per_pass": "10 us", "per_miss": "20 us", "load_rate": "100 GB/s", "when": "beside"}
RUNS: dict[str, dict[str, Any]] = {
    "demand": {},
    "prefetch": {"system": "lru-gate-lookahead"},
    "cancelled": {"system": "lru-gate-lookahead", "runtime": {"cancel": "chunk", "overlap": "layer"}},
    "cpu": {"system": "fiddler", "hardware": "rtx3060-12gb-pcie4"},
    "versions": {"system": "hobbit"},
    "exclusive": {"system": "mixtral-offloading"},
    "three tiers": {"system": "lru-gate-lookahead", "memory": IN_DRAM},
    "staged": {
        "system": "lru-gate-lookahead",
        "memory": {**IN_DRAM, "cpu_expert_cache": "13 MiB"},
        "runtime": {"host_staging_chunks": 1, "overhead": OVERHEAD},
    },
    "streamed": {"system": "deepspeed-inference", "memory": IN_DRAM},
    "lanes": {"hardware": "oneplus-15r", "memory": {"cpu_expert_cache": {"fraction": 0.3}}},
    "matrices": {"system": "lru-gate-lookahead", "runtime": {"parts": 3, "parts_order": "matrix"}},
    "batches": {"workload": {"max_sequences": 4, "batch_size": 3, "prefill_chunk": 8, "mixed": True}},
}  # fmt: skip
WINDOW = (3, 7)


class Trace:
    """A timeline, read back: events by kind, names of tracks, times in ns."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="ascii")
        document = json.loads(self.text, parse_float=lambda text: text)
        self.about = document["otherData"]
        assert set(document) == {"displayTimeUnit", "otherData", "traceEvents"}
        assert document["displayTimeUnit"] == "ns"
        self.by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.process: dict[int, str] = {}
        self.track: dict[tuple[int, int], str] = {}
        for event in document["traceEvents"]:
            check_event(event)
            for time in ("ts", "dur"):
                if time in event:
                    event[time] = int(event[time].replace(".", ""))
            self.by_kind[event["ph"]].append(event)
            if event["name"] == "process_name":
                self.process[event["pid"]] = event["args"]["name"]
            if event["name"] == "thread_name":
                self.track[event["pid"], event["tid"]] = event["args"]["name"]

    def slices(self, process: str, track: str = "") -> list[dict[str, Any]]:
        """Return the slices of a track (or of a process), in order."""
        found = [
            event
            for event in self.by_kind["X"]
            if self.process[event["pid"]] == process
            and self.track[event["pid"], event["tid"]].startswith(track)
        ]
        return sorted(found, key=lambda event: event["ts"])

    def counters(self, name: str) -> Iterator[tuple[str, int, dict[str, int]]]:
        for event in self.by_kind["C"]:
            if event["name"] == name:
                yield self.process[event["pid"]], event["ts"], event["args"]


KEYS = {
    "M": {"name", "ph", "pid", "args"},
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"},
    "i": {"name", "cat", "ph", "ts", "s", "pid", "tid", "args"},
    "C": {"name", "ph", "ts", "pid", "args"},
    "s": {"name", "cat", "ph", "ts", "id", "pid", "tid"},
    "f": {"name", "cat", "ph", "ts", "id", "pid", "tid", "bp"},
}
METADATA = {"process_name", "process_sort_index", "thread_name", "thread_sort_index"}


def check_event(event: dict[str, Any]) -> None:
    """Hold an event to the format: its keys by phase, their types, exact microseconds."""
    kind = event["ph"]
    assert set(event) - ({"tid"} if kind == "M" else set()) == KEYS[kind]
    assert all(re.fullmatch(r"\d+\.\d{3}", event[time]) for time in ("ts", "dur") if time in event)
    assert all(isinstance(event[key], int) for key in ("pid", "tid", "id") if key in event)
    assert event["name"] and isinstance(event["name"], str)
    assert kind != "M" or event["name"] in METADATA
    assert kind != "C" or (event["args"] and all(type(n) is int and n >= 0 for n in event["args"].values()))


class Truth:
    """The same passes, played without an observer; memory and counters as they were around them."""

    def __init__(self, path: Path, start: int, stop: int) -> None:
        run = prepare(choose_run(str(path), [], 0).spec, Library()).run
        self.links = tuple(link.name for link in run.machine.links)
        self.tiers = run.tiers[:-1]
        self.capacity = run.capacity
        records: list[Record] = []
        simulation = run.simulation(lambda _p, record: records.append(record))
        loader = simulation.player.loader
        passes = iter(run.workload)
        simulation.run(islice(passes, start))
        moved = [link.moved_bytes for link in loader.fabric.links]
        useful = loader.speculation.books.useful
        self.evictions = -loader.top.evictions
        simulation.run(islice(passes, stop - start))
        self.evictions += loader.top.evictions
        self.useful = loader.speculation.books.useful - useful
        now = [link.moved_bytes for link in loader.fabric.links]
        self.moved = {name: b - a for name, a, b in zip(self.links, moved, now, strict=True)}
        self.records = records[start:]


@pytest.fixture(scope="session")
def timeline_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what makes the timeline of one of RUNS, once, beside its experiment."""

    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp("timeline")
        experiment = folder / "e.yaml"
        experiment.write_text(yaml.safe_dump(BASE | RUNS[name]))
        spec = choose_run(str(experiment), [], 0).spec
        write_timeline(spec, "{}:{}".format(*WINDOW), folder / "t.json")
        return folder

    return make


@pytest.fixture(scope="module", params=RUNS)
def made(request: pytest.FixtureRequest, timeline_of: Callable[[str], Path]) -> tuple[Trace, Truth]:
    folder = timeline_of(request.param)
    return Trace(folder / "t.json"), Truth(folder / "e.yaml", *WINDOW)


def covered(slices: list[dict[str, Any]], start: int, end: int) -> int:
    """Return how many ns of [start, end) lie in some slice."""
    total, seen = 0, start
    for event in sorted(slices, key=lambda event: event["ts"]):
        until = event["ts"] + event["dur"]
        total += max(0, min(until, end) - max(event["ts"], seen))
        seen = max(seen, until)
    return total


def test_slices_of_a_track_follow_each_other(made: tuple[Trace, Truth]) -> None:
    trace, truth = made
    start, end = truth.records[0].start_ns, truth.records[-1].end_ns
    tracks = defaultdict(list)
    for event in trace.by_kind["X"]:
        assert event["dur"] > 0
        tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert len({tid for _, tid in trace.track}) == len(trace.track)
    assert tracks.keys() <= trace.track.keys()
    for spans in tracks.values():
        spans.sort()
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
        assert spans[0][0] >= start and spans[-1][1] <= end
    assert all(start <= event["ts"] <= end for kind in "iCsf" for event in trace.by_kind[kind])


def test_the_main_unit_adds_up_to_the_labels_of_each_pass(made: tuple[Trace, Truth]) -> None:
    trace, truth = made
    main = trace.slices("compute", "main unit")
    assert all(a["ts"] + a["dur"] == b["ts"] for a, b in pairwise(main))
    for record, shown in zip(truth.records, trace.slices("compute", "passes"), strict=True):
        assert (record.start_ns, record.end_ns) == (shown["ts"], shown["ts"] + shown["dur"])
        assert shown["args"]["hits"] == record.hits
        spent: dict[str, int] = defaultdict(int)
        for event in main:
            if record.start_ns <= event["ts"] < record.end_ns:
                assert event["ts"] + event["dur"] <= record.end_ns
                spent[event["cat"]] += event["dur"]
        ours = (record.dense_ns, record.expert_ns, record.cpu_wait_ns, record.overhead_ns, record.host_ns)
        names = (*LABELS, *(f"stall_{name}" for name in truth.links))
        assert spent == {name: ns for name, ns in zip(names, (*ours, *record.stall_ns), strict=True) if ns}


def test_links_and_helper_are_busy_as_long_as_the_tables_say(made: tuple[Trace, Truth]) -> None:
    trace, truth = made
    for record in truth.records:
        span = record.start_ns, record.end_ns
        for name, busy_ns in zip(truth.links, record.busy_ns, strict=True):
            assert covered(trace.slices(f"link {name}"), *span) == busy_ns
        assert covered(trace.slices("compute", "CPU helper"), *span) == record.busy_cpu_ns


def test_bytes_and_phases_of_jobs_add_up(made: tuple[Trace, Truth]) -> None:
    trace, truth = made
    phases = ("latency_ns", "moving_ns", "copying_ns", "paused_ns")
    moved = {}
    for name in truth.links:
        jobs = trace.slices(f"link {name}")
        moved[name] = sum(job["args"]["bytes"] for job in jobs)
        for job in jobs:
            assert sum(job["args"].get(phase, 0) for phase in phases) == job["dur"]
            assert 0 <= job["args"]["bytes"] <= job["args"]["of_bytes"]
            assert job["args"]["class"] == job["cat"]
    assert moved == truth.moved


def test_arrows_lead_from_a_prefetch_to_its_first_use(made: tuple[Trace, Truth]) -> None:
    trace, truth = made
    assert len(trace.by_kind["s"]) == len(trace.by_kind["f"]) <= truth.useful
    assert len({event["id"] for event in trace.by_kind["s"]}) == len(trace.by_kind["s"])
    ends = {event["id"]: event for event in trace.by_kind["f"]}

    def around(event: dict[str, Any]) -> dict[str, Any]:
        [found] = [
            x
            for x in trace.by_kind["X"]
            if (x["pid"], x["tid"]) == (event["pid"], event["tid"])
            and x["ts"] <= event["ts"] < x["ts"] + x["dur"]
        ]
        return found

    for source in trace.by_kind["s"]:
        use = ends[source["id"]]
        assert source["ts"] < use["ts"] and use["bp"] == "e"
        transfer, expert = around(source), around(use)
        assert (transfer["cat"], expert["cat"]) == ("prefetch", "expert_compute")
        who = ("layer", "expert", "version")
        assert [transfer["args"][key] for key in who] == [expert["args"][key] for key in who]


def test_counters_stay_within_what_there_is(made: tuple[Trace, Truth]) -> None:
    trace, truth = made
    seen = set()
    for process, _, values in trace.counters("occupancy"):
        name = process.removeprefix("cache ")
        seen.add(name)
        assert values["bytes"] <= truth.capacity[name]
    assert seen == set(truth.tiers)
    for name in truth.links:
        rates = [(at, v["bytes_per_s"]) for process, at, v in trace.counters("bandwidth") if name in process]
        moving = [job for job in trace.slices(f"link {name}") if "moving_ns" in job["args"]]
        assert any(rate for _, rate in rates) == bool(moving)
        assert all(a[0] < b[0] for a, b in pairwise(rates))  # one value at a time
        end = truth.records[-1].end_ns
        area = sum(rate * (b - a) for (a, rate), (b, _) in pairwise([*rates, (end, 0)]))
        whole = sum(job["args"]["of_bytes"] for job in moving)
        assert sum(job["args"]["bytes"] for job in moving) * 0.98 <= area / 10**9 <= whole * 1.02 + 1


def test_evictions_are_marked(made: tuple[Trace, Truth]) -> None:
    trace, truth = made
    top = {pid for pid, name in trace.process.items() if name == f"cache {truth.tiers[0]}"}
    evicted = [x for x in trace.by_kind["i"] if x["pid"] in top and x["cat"] == "evicted"]
    assert len(evicted) == truth.evictions


def test_all_of_it_was_exercised(timeline_of: Callable[[str], Path]) -> None:
    """The runs above show every class of job, a second version, cancelled and cut jobs, and every label."""
    every = "".join((timeline_of(name) / "t.json").read_text() for name in RUNS)
    words = (
        '"class":"demand"', '"class":"prefetch"', '"class":"write-back"', '"class":"activations"', '"ph":"s"',
        '"version":"int4"', '"cancelled":true', '"began_earlier":true', '"goes_on":true', '"paused_ns":',
        '"copying_ns":', '"hop":2', '"part":2', '"lane 3"', '"cat":"cpu_expert_wait"', '"cat":"overhead"',
        '"cat":"stall_ssd_to_cpu"', '"cat":"stall_cpu_to_gpu"', '"cat":"cpu_expert"', '"cat":"removed"',
    )  # fmt: skip
    assert [word for word in words if word not in every] == []


def test_names_are_escaped_and_times_are_exact() -> None:
    text = StringIO()
    hostile = '"}]</script>\u2028\ud800\0'
    events = TraceEvents(text, {hostile: hostile})
    track = events.track(events.process(hostile), hostile)
    long = 10**15 + 1  # eleven days and a nanosecond, which a float of microseconds could not tell
    events.slice(track, hostile, hostile, (999, 999 + long), {hostile: hostile})
    events.instant(track, hostile, hostile, 1_000_000, {})
    events.count(1, hostile, 5, {hostile: 1})
    events.count(1, hostile, 5, {hostile: 2})
    events.count(1, hostile, 6, {hostile: 2})
    events.close()
    assert text.getvalue().isascii()
    assert '"ts":0.999,"dur":1000000000000.001,' in text.getvalue()
    document = json.loads(text.getvalue())
    assert document["otherData"] == {hostile: hostile}
    assert [event["args"] for event in document["traceEvents"]][-3:] == [{hostile: hostile}, {}, {hostile: 2}]


def test_same_bytes_each_time(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(BASE))
    spec = choose_run(str(tmp_path / "e.yaml"), [], 0).spec
    for name in ("a", "b"):
        write_timeline(spec, None, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    about = Trace(tmp_path / "a").about
    assert (about["experiment"], about["passes"], about["trace_synthetic"]) == ("test", "0:20", False)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_windows_fit_together(tmp_path: Path) -> None:
    """What two windows show side by side is what one shows, but for where jobs are cut."""
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(BASE | RUNS["prefetch"]))
    spec = choose_run(str(tmp_path / "e.yaml"), [], 0).spec
    parts = []
    for passes in (":5", "5:8", "0:8"):
        write_timeline(spec, passes, tmp_path / "t.json", force=True)
        trace = Trace(tmp_path / "t.json")
        parts.append([(x["ts"], x["dur"], x["name"]) for x in trace.slices("compute", "main unit")])
    assert parts[0] + parts[1] == parts[2]


# -- the command -----------------------------------------------------------------------------------


def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return moesim(cwd, "timeline", *words)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ("5:2", "--tokens: '5:2' is empty; start:end, and the end is not in it"),
        ("3:3", "--tokens: '3:3' is empty"),
        ("x:y", "--tokens: 'x:y'; allowed: start:end, such as 0:20"),
        ("-2:-5", "--tokens: '-2:-5' is empty"),
        ("-419:", "--tokens: '-419:' goes beyond the run; the run has 418 passes"),
        (":-418", "--tokens: ':-418' is empty"),
        ("--5:", "--tokens: '--5:'; allowed: start:end"),
        ("7", "--tokens: '7'; allowed: start:end"),
        ("\u0663:\u0665", "allowed: start:end"),
        ("0:419", "--tokens: '0:419' goes beyond the run; the run has 418 passes"),
        ("5000:", "'5000:' goes beyond the run"),
        ("418:", "'418:' is empty"),
    ],
)
def test_a_wrong_range_is_refused(tokens: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        passes_of(tokens, 418)
    assert said in str(error.value)


def test_a_range_is_a_slice() -> None:
    found = [passes_of(text, 418) for text in ("0:20", ":5", "400:", ":", " 3:4 ", "-2:", "-5:-2", ":-400")]
    assert found == [(0, 20), (0, 5), (400, 418), (0, 418), (3, 4), (416, 418), (413, 416), (0, 18)]


def test_a_run_is_chosen_by_number() -> None:
    assert choose_run("quickstart", [], 11).spec.index == 11
    assert choose_run("quickstart", [], 0).n_runs == 12
    with pytest.raises(InputError, match=r"--run 12: .*quickstart.yaml has no such run; 0 to 11"):
        choose_run("quickstart", [], 12)
    with pytest.raises(InputError, match="there is only run 0"):
        choose_run("phone-bigmoe", [], 1)


@pytest.mark.parametrize(
    "words", [["--tokens", "5:2"], ["--run", "12"], ["--set", "runtime.overlap=no"], ["-o", "no/t.json"]]
)
def test_bad_input_is_one_line_and_nothing_is_written(words: list[str], tmp_path: Path) -> None:
    out = ["-o", "t.json"] if "-o" not in words else []
    done = run("quickstart", "--run", "0", *words, *out, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"moesim: [^\n]+\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(BASE))
    spec = choose_run(str(tmp_path / "e.yaml"), [], 0).spec
    there = tmp_path / "t.json"
    there.write_text("mine")
    for out, said in (
        (there, "is there already"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "t.json", "No such file or directory"),
        (there / "t.json", "Not a directory"),
        (Path("/dev/full"), "is no file"),
        (tmp_path / "a\0b", "null byte"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(InputError, match=said):
            write_timeline(spec, "0:1", out, force=out != there)
    monkeypatch.setattr("simulator.timeline.make.Recorder.close", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        write_timeline(spec, "0:1", there, force=True)
    assert there.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.yaml", "t.json"]
    monkeypatch.undo()
    write_timeline(spec, "0:1", there, force=True)
    assert there.read_text() != "mine"


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    done = run("quickstart", "--tokens", "2:4", "-o", str(tmp_path / "t.json"))
    assert (done.returncode, done.stderr) == (0, "note: run 0 of 12; another with --run N\n")
    assert re.fullmatch(r".*t\.json: passes 2 to 3 of 1672, \d+\.\d{3} ms, \d+ events\n", done.stdout)
    done = run("quickstart", "--run", "0", "--tokens", "2:4", "-o", str(tmp_path / "u.json"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "t.json").read_bytes() == (tmp_path / "u.json").read_bytes()


def test_help_says_what_a_range_is() -> None:
    text = " ".join(run("--help").stdout.replace("│", " ").split())
    assert "from A up to and without B" in text and "(default: the first 20)" in text
