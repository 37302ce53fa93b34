"""The store: an entry is what was put there, or it is not believed, whatever is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from simulator.errors import InputError
from simulator.results.store import Entries, Store, open_store
from simulator.results.summary import RunResult
from tests.command_line import moesim
from tests.failing import copied

A, B = "a" * 64, "b" * 64
ROW = RunResult(
    {"run": 3, "model": "m"},
    {"x": {1: [2.5, None]}},
    {"hit_rate": 0.1 + 0.2},
    {"warnings": "é"},
    {"name": "e"},
)
TABLES = {"tokens": pa.table({"t": [1, 2]}), "experts": pa.table({"e": [3]})}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.put(A, ROW, TABLES)
    store.put(B, RunResult({}, {}, {"hit_rate": 0.5}, {}, {}), {**TABLES, "tokens": pa.table({"t": [1, 3]})})
    return store


def test_an_entry_comes_back_as_it_was_put(store: Store) -> None:
    found = store.get(A)
    assert found is not None
    assert found.metrics == ROW.metrics
    assert found.swept == {"x": {"1": [2.5, None]}}  # JSON has words for keys
    assert store.get("c" * 64) is None
    assert store.entries.digests() == {A, B}


def edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edited(folder: Path) -> None:
        path = folder / f"{A}.json"
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))

    return edited


def write(text: str | bytes, name: str = f"{A}.json") -> Callable[[Path], object]:
    content = text.encode() if isinstance(text, str) else text
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:100])


def swap(kind: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copyfile(folder / f"{B}.{kind}", folder / f"{A}.{kind}")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "half a row": cut(f"{A}.json"),
    "no row": lambda folder: (folder / f"{A}.json").unlink(),
    "an empty row": write(""),
    "a row of zeros": write(bytes(500)),
    "no text": write(b"\xff\xfe\x00"),
    "deep JSON": write("[" * 100_000),
    "deep JSON within": write('{"sha256": "x", "entry": ' + "[" * 100_000),
    "another kind of JSON": write("[1]"),
    "no JSON object": write("null"),
    "a row as it was written once": write('{"identity":{},"swept":{},"metrics":{},"flags":{},"config":{}}'),
    "another metric": edit(lambda found: found["entry"]["row"]["metrics"].update(hit_rate=0.4)),  # type: ignore[index]
    "another type": edit(lambda found: found["entry"]["row"].update(metrics=None)),  # type: ignore[index]
    "no tables": edit(lambda found: found["entry"].pop("tables")),  # type: ignore[attr-defined]
    "no hash": edit(lambda found: found.pop("sha256")),
    "another run's row": swap("json"),
    "another run's table": swap("tokens.parquet"),
    "half a table": cut(f"{A}.tokens.parquet"),
    "no table": lambda folder: (folder / f"{A}.experts.parquet").unlink(),
    "a table of another kind": write("run,t\n1,2\n", f"{A}.experts.parquet"),
    "a folder for a table": lambda folder: (
        (folder / f"{A}.experts.parquet").unlink(),
        (folder / f"{A}.experts.parquet").mkdir(),
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_entry_is_not_believed_and_the_others_are(store: Store, what: str) -> None:
    DAMAGE[what](store.folder)
    assert store.get(A) is None
    other = store.get(B)
    assert other is not None
    assert other.metrics == {"hit_rate": 0.5}


def test_entries_of_others_are_bound_to_their_hash_too(tmp_path: Path) -> None:
    entries = Entries(tmp_path)
    entries.put(A, {"hit_rate": 0.5})
    assert entries.get(A) == {"hit_rate": 0.5}
    shutil.copyfile(tmp_path / f"{A}.json", tmp_path / f"{B}.json")
    assert entries.get(B) is None
    entries.remove({A})
    assert entries.digests() == {B}


def test_runs_stay_after_a_fault_and_go_when_all_is_done(tmp_path: Path) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    stopped = pytest.raises(KeyboardInterrupt)
    with stopped, open_store(out, resume=False, force=False) as store:
        store.put(A, ROW, TABLES)
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="an unfinished sweep"), open_store(out, resume=False, force=False):
        pytest.fail("it was opened")
    with open_store(out, resume=True, force=False) as store:
        assert store.get(A) is not None
        with (
            pytest.raises(InputError, match="another sweep is writing here"),
            open_store(out, resume=False, force=False),
        ):
            pytest.fail("it was opened twice")
        store.complete = False
    with open_store(out, resume=False, force=True) as store:
        assert store.get(A) is None
        store.put(A, ROW, TABLES)
    assert not partial.exists()


def test_a_sweep_that_was_killed_before_its_first_run_ended_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "lock").touch()
    (tmp_path / "out.partial" / f".{A}.tokens.parquet.x7.partial").touch()
    with open_store(tmp_path / "out", resume=False, force=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_damaged_entries_are_played_again_on_the_command_line(tmp_path: Path) -> None:
    folder = copied("06", tmp_path)
    command = ("run", "e.yaml", "--out", "out", "-j1", "--keep-going")
    assert moesim(folder, *command).returncode == 1
    whole = (folder / "out" / "summary.csv").read_bytes()
    rows = sorted((folder / "out.partial").glob("*.json"))
    assert len(rows) == 2
    rows[0].write_text("[" * 100_000)
    rows[1].with_suffix(".tokens.parquet").write_bytes(b"PAR1")
    (folder / "out" / "summary.csv").unlink()
    done = moesim(folder, *command, "--resume")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "failed: e.yaml (sweep: policies.eviction=bad.py:Bad): " in done.stderr
    assert (folder / "out" / "summary.csv").read_bytes() == whole
