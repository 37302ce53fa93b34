"""A policy with a common bug stops the run in one line that says which, what and where."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from policies.eviction.lru import LRU
from policies.prefetch.none import NoPrefetch
from simulator.cli import main
from simulator.engine.replay import replay
from simulator.errors import PolicyError
from simulator.trace.parquet import read_trace, write_trace
from tests.places import ROOT, WHOLE_PROFILE
from tests.policies.tools import context

NOT_THERE = r"is not in the pool \(layer \d+, event \d+, \w+ tier\): does on_evict forget it\?"
HOSTS = ["lru-on-demand", "lru-gate-lookahead", "hobbit", "fiddler"]
TWO = ["precision.experts=[int4, int2]"]

VICTIMS = {
    "Forgetful": rf"Forgetful.victim returned \d+, which {NOT_THERE}",
    "Careless": r"Careless.victim returned \d+, which is in 'blocked'",
    "Unwilling": r"Unwilling.victim returned None, though \d+ could go \(layer",
    "Deaf": r"Deaf.victim returned None, though \d+ could go \(layer",
    "Bool": r"Bool.victim returned (True|False), which is no key",
    "Text": r"Text.victim returned '\d+', which is no key",
    "Float": r"Float.victim returned \d+\.0, which is no key",
    "Tuple": r"Tuple.victim returned \(\d+, 0\), which is no key",
}
OTHERS = {
    "Shared": (["policies.eviction=%s", "policies.partition=per-layer"], "which is in another pool"),
    "PreloadsTwice": (
        ["policies.eviction=%s"],
        r"PreloadsTwice.preload returned \d+ twice \(before the run\)",
    ),
    "PreloadsOthers": (["policies.eviction=%s"], "returned 1024, which is no expert of the pool's layers"),
    "ShortRecord": (["policies.eviction=%s"], r"residency returned 1 answers \(.*\): one for each key: \d+"),
    "Raises": (["policies.eviction=%s"], r"Raises.victim raised KeyError: 5 \(line \d+ of mine.py\)"),
    "Stops": (["policies.eviction=%s"], r"Stops.victim raised StopIteration \(line \d+ of mine.py\)"),
    "BreaksLater": (["policies.eviction=%s"], r"BreaksLater.\w+ raised (Type|Attribute)Error: .*of lru.py\)"),
    "Clears": (["policies.eviction=%s"], r"Clears.on_use raised AttributeError: 'tuple' object has no attr"),
    "ClearsServed": (["policies.eviction=%s"], r"ClearsServed.observe raised AttributeError: 'tuple' object"),
    "ClearsEvent": (["policies.eviction=%s"], r"ClearsEvent.observe raised AttributeError: 'tuple' object"),
    "Renumbers": (["policies.eviction=%s"], r"Renumbers.observe raised FrozenInstanceError: cannot assign"),
    "Flattens": (
        ["policies.eviction=%s"],
        r"Flattens.bind raised ValueError: .*read-only \(line \d+ of mine",
    ),
    "Exits": (["policies.eviction=%s"], r"Exits.victim raised SystemExit: 0 \(line \d+ of mine.py\)"),
    "Unspeakable": (["policies.eviction=%s"], r"Unspeakable.victim raised Speechless: \(it does not say"),
    "ClearsLayers": (["policies.eviction=%s"], r"ClearsLayers.preload raised AttributeError: 'tuple' object"),
    "SortsPredictions": (
        ["policies.precision=%s", *TWO, "policies.prefetch=gate-lookahead"],
        r"SortsPredictions.foreseen raised AttributeError: 'tuple' object",
    ),
    "Unlocks": (["policies.eviction=%s"], r"Unlocks.bind raised ValueError: cannot set WRITEABLE flag"),
    "Halves": (["policies.eviction=%s"], r"Halves.bind raised ValueError: .*read-only \(line \d+ of mine"),
    "ExitsWhenMade": (["policies.eviction=%s"], r"ExitsWhenMade.__init__ raised SystemExit: 0 \(line \d+"),
    "Leaves": (["policies.eviction=%s"], r"Leaves.victim raised GeneratorExit \(line \d+ of mine.py\)"),
    "ExitsInWords": (
        ["policies.eviction=%s"],
        r"ExitsInWords.victim raised QuittingError: \(it does not say",
    ),
    "RefusesItself": (["policies.eviction=%s"], r"mine.py:RefusesItself: \(it does not say what\)"),
    "NeedsANumber": (
        ["policies.eviction=%s"],
        r"NeedsANumber: its needs are frozenset\(\{7\}\); a frozenset",
    ),
    "ShieldsInWords": (["policies.prefetch=%s"], r"ShieldsInWords: its shields is 'no'; True or False"),
    "LearnsInWords": (
        ["policies.eviction=%s"],
        r"LearnsInWords: its learns_beforehand is 'false'; True or Fa",
    ),
    "LearnsInWordsLater": (
        ["policies.eviction=%s"],
        r"LearnsInWordsLater: its learns_beforehand is 'false'; True",
    ),
    "PopularUnsaid": (
        ["policies.eviction=%s"],
        r"PopularUnsaid.learns_beforehand is False, but it reads context.popularity: set learns_before",
    ),
    "LearntUnsaid": (
        ["policies.eviction=%s"],
        r"LearntUnsaid.learns_beforehand is False, but it reads context.learnt: set learns_beforehand = ",
    ),
    "NeedsAWord": (["policies.eviction=%s"], r"NeedsAWord: its needs are 'future'; a frozenset of future"),
    "RefusesInWords": (["policies.eviction=%s"], r"RefusesInWords: its refuses is 'no'; True or False"),
    "CannotStart": (["policies.eviction=%s"], r"CannotStart.__init__ raised RuntimeError: no way \(line"),
    "CannotBind": (["policies.eviction=%s"], r"CannotBind.bind raised AttributeError: .*'nothing' \(line"),
    "SameLayer": (
        ["policies.prefetch=%s"],
        r"wishes returned \d+, which is no key of layer \d+, 2 ahead \(lay",
    ),
    "NoneAhead": (
        ["policies.prefetch=%s"],
        r"NoneAhead.wishes returned a wish 0 layers ahead \(layer 0, event 0",
    ),
    "NegativeKey": (
        ["policies.prefetch=%s"],
        r"returned -1, which is no key of layer 1, 1 ahead \(layer 0, e",
    ),
    "FloatKey": (["policies.prefetch=%s"], r"returned 64.5, which is no key of layer 1"),
    "BareKeys": (["policies.prefetch=%s"], "BareKeys.wishes returned 64, which is no Wish"),
    "NoWishes": (["policies.prefetch=%s"], "NoWishes.wishes returned None, which is no list"),
    "LazyWishes": (["policies.prefetch=%s"], "raised ZeroDivisionError: integer division or modulo by zero"),
    "Greedy": (["policies.partition=%s"], r"Greedy.pools returned pools of \d+ bytes together, of \d+"),
    "Gap": (["policies.partition=%s"], r"pools of the layers \[1, .*\], not each of 0 to 15 once"),
    "Fractional": (["policies.partition=%s"], r"Fractional.pools returned a pool of \d+\.0 bytes"),
    "Loses": (["policies.order=%s"], r"Loses.order returned \d+ answers \(.*\): one for each key: \d+"),
    "Repeats": (["policies.order=%s"], "Repeats.order returned .* the same keys, each once"),
    "LosesOnEntry": (["policies.admission=%s"], r"LosesOnEntry.order returned \d+ answers"),
    "SaysNothing": (
        ["policies.admission=%s"],
        r"SaysNothing.admits returned None \(layer .*\): True or False",
    ),
    "FewPlaces": (["policies.placement=%s"], "place returned 1 answers .*: one for each missed key"),
    "OnCpuUnsaid": (["policies.placement=%s"], "returned Place.CPU .*uses_cpu = True"),
    "PlaceNames": (["policies.placement=%s"], "PlaceNames.place returned 'cpu', which is no placement"),
    "Forward": (
        ["policies.routing=%s"],
        r"returned \d+, which is no expert of this layer \(layer 0, event 0\)",
    ),
    "FewRoutes": (["policies.routing=%s"], "FewRoutes.rewrite returned 1 answers"),
    "ThirdVersion": (
        ["policies.precision=%s", *TWO],
        "returned 2, which is no version of this run .*0 to 1 or UNW",
    ),
    "SilentVersions": (["policies.precision=%s", *TWO], r"accepts returned None \(version 1 for 0\)"),
    "ForeseesLists": (
        ["policies.precision=%s", *TWO, "policies.prefetch=gate-lookahead"],
        r"ForeseesLists.foreseen returned \[0\], which is no mapping",
    ),
    "Mute": (["policies.prefetch=%s"], "Mute.assumptions returned None, which is no list"),
}
PLACES = {
    "two tiers, alone": [],
    "two tiers, four at a time": ["workload.batch_size=4"],
    "three tiers, alone": ["memory.cpu_expert_cache={fraction: 0.5}"],
    "three tiers, four at a time": ["workload.batch_size=4", "memory.cpu_expert_cache={fraction: 0.5}"],
}
every_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the policies, an experiment, and a trace of four short sequences."""
    folder = tmp_path_factory.mktemp("policies")
    shutil.copy(Path(__file__).with_name("faulty.py"), folder / "mine.py")
    trace = read_trace(ROOT / "traces" / "olmoe-mini.parquet")
    few = np.flatnonzero((trace.sequence < 4) & (trace.position < 40))
    arrays = {
        name: getattr(trace, name)[few] for name in ("sequence", "position", "phase", "experts", "weights")
    }
    predicted = {
        name: tuple(a[few] for a in getattr(trace, name)) for name in ("predicted", "predicted_weights")
    }
    record = np.zeros(arrays["experts"].shape, np.int8)
    cut = replace(
        trace, **arrays, **predicted, gate_top=None, gate_top_p=None, token_id=None, recorded_resident=record
    )
    write_trace(cut, folder / "t.parquet")
    (folder / "e.yaml").write_text(
        f"name: e\nmodel: olmoe-1b-7b\nhardware: rtx4090-pcie4\nsoftware: ideal\n"
        f"trace: {folder / 't.parquet'}\n"
        "memory: {gpu_expert_cache: {fraction: 0.25}}\n"
    )
    return folder


class Command:
    """The command line, called in this process: what it printed, and its status."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *words: object) -> tuple[int, str]:
        """Return status and stderr."""
        self.monkeypatch.setattr(sys, "argv", ["moesim", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), self.capsys.readouterr().err


@pytest.fixture
def moesim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def words(folder: Path, *sets: str) -> list[str]:
    return [str(folder / "e.yaml"), *(word for one in sets for word in ("--set", one))]


def stopped(moesim: Command, folder: Path, out: Path, *sets: str) -> str:
    """Run, and check the manner in which it stops; return the line."""
    status, said = moesim("run", *words(folder, *sets), "--out", out, "--jobs", 1)
    assert status == 2, said
    assert said.startswith("moesim: ")
    assert said.count("\n") == 1
    assert not out.exists()
    return said


@every_place
@pytest.mark.parametrize("host", HOSTS)
def test_an_lru_that_forgets_to_forget_is_found_out_in_every_system(
    moesim: Command, folder: Path, tmp_path: Path, host: str, place: list[str]
) -> None:
    """The CPU is slow, so that Fiddler fetches; a policy that nobody asks cannot be found out."""
    mine = f"policies.eviction={folder}/mine.py:Forgetful"
    fast = WHOLE_PROFILE.read_text()
    (tmp_path / "slow.yaml").write_text(fast.replace("value: 0.31,", "value: 0.01,"))
    machine = f"hardware={tmp_path / 'slow.yaml'}"
    said = stopped(moesim, folder, tmp_path / "o", f"system={host}", machine, mine, *place)
    assert re.search(VICTIMS["Forgetful"], said), said


@every_place
@pytest.mark.parametrize("name", [name for name in VICTIMS if name != "Forgetful"])
def test_a_victim_is_somebody_of_the_pool_who_may_go(
    moesim: Command, folder: Path, tmp_path: Path, name: str, place: list[str]
) -> None:
    said = stopped(moesim, folder, tmp_path / "o", f"policies.eviction={folder}/mine.py:{name}", *place)
    assert re.search(VICTIMS[name], said), said


@every_place
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_answer_is_checked_too(
    moesim: Command, folder: Path, tmp_path: Path, name: str, place: list[str]
) -> None:
    sets, says = OTHERS[name]
    sets = [one.replace("%s", f"{folder}/mine.py:{name}") for one in sets]
    said = stopped(moesim, folder, tmp_path / "o", *sets, *place)
    assert re.search(says, said), said


@pytest.mark.parametrize(
    "setting",
    [
        "runtime.evict=after_event",
        "memory.kv=grow",
        "policies.prefetch=oracle",
        "policies.prefetch=whole-layer",
        "policies.partition=per-layer",
    ],
)
def test_no_path_lets_a_wrong_victim_through(
    moesim: Command, folder: Path, tmp_path: Path, setting: str
) -> None:
    mine = f"policies.eviction={folder}/mine.py:Forgetful"
    assert re.search(NOT_THERE, stopped(moesim, folder, tmp_path / "o", mine, setting))


def test_a_lower_tier_that_takes_what_leaves_the_upper_one_is_checked(
    moesim: Command, folder: Path, tmp_path: Path
) -> None:
    lower = ["memory.cpu_expert_cache={fraction: 0.3}", f"policies.cpu_eviction={folder}/mine.py:Forgetful"]
    for tiers in ("inclusive", "exclusive"):
        said = stopped(moesim, folder, tmp_path / "o", *lower, f"runtime.tiers={tiers}")
        assert re.search(r"event \d+, cpu tier\): does on_evict forget it", said), said


@pytest.mark.parametrize("name", ["PopularSaidLater", "Reseeds"])
def test_a_policy_that_says_what_it_reads_runs(
    moesim: Command, folder: Path, tmp_path: Path, name: str
) -> None:
    for who, policy in (("theirs", "lru"), ("mine", f"{folder}/mine.py:{name}")):
        sets = words(folder, f"policies.eviction={policy}")
        assert moesim("run", *sets, "--out", tmp_path / who, "--jobs", 1)[0] == 0
    mine, theirs = (pd.read_csv(tmp_path / who / "summary.csv") for who in ("mine", "theirs"))
    same = ["tokens_per_second", "hit_rate"]
    pd.testing.assert_frame_equal(mine[same], theirs[same])
    assert mine["knows_future"].tolist() == [name == "PopularSaidLater"]


def test_a_file_that_exits_is_a_fault_too(moesim: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(0)\n")
    said = stopped(moesim, folder, tmp_path / "o", f"policies.eviction={tmp_path}/exits.py:LRU")
    assert re.search(r"cannot load .*exits.py: SystemExit: 0\n", said), said


@pytest.mark.parametrize(("name", "status"), [("Terminated", 143), ("Interrupted", 130)])
@every_place
def test_a_signal_in_a_policy_is_no_fault_of_its_own(
    moesim: Command, folder: Path, tmp_path: Path, name: str, status: int, place: list[str]
) -> None:
    sets = words(folder, f"policies.eviction={folder}/mine.py:{name}", *place)
    ended, said = moesim("run", *sets, "--out", tmp_path / "o", "--jobs", 1)
    assert (ended, said) == (status, "interrupted: what is finished is kept, --resume goes on\n")


def test_a_policy_that_writes_in_the_trace_leaves_the_next_run_as_it_is(
    moesim: Command, folder: Path, tmp_path: Path
) -> None:
    both = f"sweep={{grid: {{policies.eviction: ['{folder}/mine.py:Flattens', lru]}}}}"
    status, _ = moesim("run", *words(folder, both), "--out", tmp_path / "both", "--jobs", 1, "--keep-going")
    assert status == 1
    assert moesim("run", *words(folder), "--out", tmp_path / "alone", "--jobs", 1)[0] == 0
    after, alone = (pd.read_csv(tmp_path / one / "summary.csv") for one in ("both", "alone"))
    same = ["tokens_per_second", "hit_rate", "gate_mass_high"]
    pd.testing.assert_frame_equal(after[same], alone[same])


@every_place
def test_numpy_integers_are_keys(moesim: Command, folder: Path, tmp_path: Path, place: list[str]) -> None:
    for name, policy in (("theirs", "lru"), ("mine", f"{folder}/mine.py:Numpy")):
        sets = words(folder, f"policies.eviction={policy}", "policies.prefetch=gate-lookahead", *place)
        assert moesim("run", *sets, "--out", tmp_path / name, "--jobs", 1)[0] == 0
    mine, theirs = (pd.read_csv(tmp_path / name / "summary.csv") for name in ("mine", "theirs"))
    pd.testing.assert_frame_equal(mine.drop(columns="system"), theirs.drop(columns="system"))


def test_a_recorded_residency_holds_on_a_machine_with_one_lane_too(
    moesim: Command, folder: Path, tmp_path: Path
) -> None:
    """All experts fit, but the record says that none was there: nothing hits."""
    sets = words(folder, "policies.eviction=recorded", "memory.gpu_expert_cache.fraction=1.0")
    assert moesim("run", *sets, "--out", tmp_path / "o")[0] == 0
    assert pd.read_csv(tmp_path / "o" / "summary.csv").hit_rate[0] == 0


def test_replays_without_time_check_victims_too() -> None:
    class Forgetful(LRU):
        def on_evict(self, key: int) -> None:
            """Forget nothing."""

    def make() -> LRU:
        policy = Forgetful()
        policy.bind(context([[1], [2], [3]]))
        return policy

    for evict in ("on_insert", "after_event"):
        with pytest.raises(
            PolicyError, match=r"victim returned 1, which is not in the pool \(layer 0, event 2"
        ):
            replay([[1], [2], [3]], [0] * 3, [(1, [0])], [1], make, evict=evict)


# -- whose fault --------------------------------------------------------------------------------------


def test_the_traceback_is_there_for_the_asking(moesim: Command, folder: Path, tmp_path: Path) -> None:
    mine = f"policies.eviction={folder}/mine.py:Raises"
    plain = words(folder, mine)
    for command in (["run", "--jobs", "1"], ["run", "--keep-going"], ["timeline", "--tokens", "0:9"]):
        out = ["--out", str(tmp_path / "o")]
        status, said = moesim(*command, *plain, *out)
        assert status == 2
        assert "Traceback" not in said
        status, said = moesim(*command, *plain, *out, "--traceback")
        assert status == 2
        assert "mine.py" in said
        assert "in score" in said
        assert "KeyError: 5" in said.splitlines()[-1]


def test_a_search_ends_where_a_policy_breaks(moesim: Command, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    searched = "{memory.gpu_expert_cache.fraction: {low: 0.2, high: 0.3}}"
    part = f"{{maximise: hit_rate, trials: 2, parameters: {searched}}}"
    sets = words(folder, f"policies.eviction={folder}/mine.py:Forgetful", f"tune={part}")
    status, said = moesim("tune", *sets, "--out", tmp_path / "o")
    assert status == 2
    assert re.fullmatch(rf"moesim: Forgetful.victim returned \d+, which {NOT_THERE}\n", said), said
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_ours_is_one_line_and_status_1(
    moesim: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, event: object, resident: object) -> None:
        raise LookupError("ours")

    monkeypatch.setattr(NoPrefetch, "wishes", broken)
    sets = words(folder, "workload.batch_size=4")
    status, said = moesim("run", *sets, "--out", tmp_path / "o", "--jobs", 1)
    assert status == 1
    assert said.count("\n") == 1
    assert re.search(r"the run failed; LookupError: ours \(line \d+ of .*\): a fault of moesim, please", said)
    status, said = moesim("run", *sets, "--out", tmp_path / "o", "--keep-going")
    assert (status, "every run failed; LookupError: ours" in said) == (1, True)


def test_runs_in_other_processes_say_the_same(folder: Path, tmp_path: Path) -> None:
    two = [f"policies.eviction={folder}/mine.py:Stops", "sweep.seeds=[0, 1]"]
    done = subprocess.run(
        [sys.executable, "-m", "simulator.cli", "run", *words(folder, *two), "-o", tmp_path / "o", "-j", "2"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(
        r"moesim: .*: the run failed; Stops.victim raised StopIteration \(.*\)\n", done.stderr
    )
    assert done.stdout == ""
