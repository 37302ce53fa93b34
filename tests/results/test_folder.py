"""Folders of results: only what moesim wrote is replaced, and a kill at any moment loses nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.plots import FIGURES as DRAWN
from simulator.results.folder import FIGURES, check_output, fresh_folder, intact, workplace
from tests.command_line import moesim
from tests.failing import copied


def write(out: Path, digest: str = "one", **files: str) -> None:
    """Write results: their files by name, ``figures_x`` for ``figures/x``."""
    with fresh_folder(out) as folder:
        for name, text in files.items():
            path = folder / name.replace("figures_", "figures/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (folder / "manifest.json").write_text(json.dumps({"config_sha256": digest}), encoding="utf-8")


def tree(folder: Path) -> dict[str, str]:
    """Return all files below a folder, manifests aside."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in found}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return results beside which and in which others have put files."""
    out = tmp_path / "out"
    write(out, summary_csv="1", old_csv="1", figures_a_csv="1")
    (out / "mine").mkdir()
    (out / "mine" / "empty").mkdir()
    for name in ("notes.txt", "mine/precious", "figures/mine.png"):
        (out / name).write_text("mine", encoding="utf-8")
    (out / "link").symlink_to("nowhere")
    return out


MINE = {"notes.txt": "mine", "mine/precious": "mine", "figures/mine.png": "mine"}


def test_other_results_take_away_what_moesim_wrote_and_nothing_else(out: Path) -> None:
    for name in ("figures/pareto-talk.svg", "report.html"):  # by other commands of moesim, of these results
        (out / name).write_text("1", encoding="utf-8")
    inode = (out / "notes.txt").stat().st_ino
    write(out, "two", summary_csv="2")
    assert tree(out) == MINE | {"summary.csv": "2"}
    assert (out / "link").is_symlink()
    assert (out / "mine" / "empty").is_dir()
    assert (out / "notes.txt").stat().st_ino == inode  # it was not copied: whoever has it open still does
    assert not out.with_name("out.partial").exists()


def test_the_same_results_keep_figures_that_were_drawn_later(out: Path) -> None:
    (out / "figures" / "pareto.pdf").write_text("1", encoding="utf-8")
    write(out, "one", summary_csv="2")
    ours = {"summary.csv": "2", "old.csv": "1", "figures/a.csv": "1", "figures/pareto.pdf": "1"}
    assert tree(out) == MINE | ours


def test_a_folder_of_moesims_that_holds_nothing_else_any_more_goes(tmp_path: Path) -> None:
    write(tmp_path / "out", summary_csv="1", figures_a_csv="1")
    write(tmp_path / "out", "two", summary_csv="2")
    assert not (tmp_path / "out" / "figures").exists()


@pytest.mark.parametrize("what", ["file", "folder", "link", "link above", "file above"])
def test_what_is_not_moesims_is_not_replaced_by_what_is(out: Path, what: str) -> None:
    name = out / "figures" if what.endswith("above") else out / "new.csv"
    if what.endswith("above"):
        name.rename(out / "away")
    if what.startswith("file"):
        name.write_text("mine", encoding="utf-8")
    elif what.startswith("link"):
        name.symlink_to("away")
    else:
        name.mkdir()
    before = tree(out)
    with pytest.raises(InputError, match=rf"holds {name.name}, which moesim did not write") as told:
        write(out, "two", summary_csv="2", new_csv="2", figures_a_csv="2")
    assert str(told.value).startswith(f"{out}: ")
    assert tree(out) == before
    assert name.is_symlink() == what.startswith("link")


def test_results_of_an_earlier_moesim_can_be_replaced(tmp_path: Path) -> None:
    """Their manifest does not list their files."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text('{"config_sha256": "zero"}', encoding="utf-8")
    for name in ("summary.csv", "notes.txt"):
        (out / name).write_text("0", encoding="utf-8")
    check_output(out, "one", force=True)
    write(out, "one", summary_csv="1")
    assert tree(out) == {"summary.csv": "1", "notes.txt": "0"}


def test_the_manifest_says_what_the_files_were(out: Path) -> None:
    assert intact(out, ["summary.csv", "figures/a.csv"])
    assert not intact(out, ["notes.txt"])
    (out / "summary.csv").write_text("3", encoding="utf-8")
    assert not intact(out, ["summary.csv"])


def test_the_figures_that_are_taken_away_are_those_that_are_drawn() -> None:
    assert tuple(DRAWN) == FIGURES


# -- NAME.partial --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mynotes.txt", "holds what moesim did not write (mynotes.txt)"),
        ("abc.json", "holds what moesim did not write (abc.json)"),
        (f"{'a' * 64}.json", "it has no lock"),
        ("lock", "holds what moesim did not write (lock)"),
        ("folder/", "holds what moesim did not write (folder)"),
        (f"{'a' * 64}.json@", f"holds what moesim did not write ({'a' * 64}.json)"),
        ("lock@", "holds what moesim did not write (lock)"),
        ("@", "is no folder of moesim's"),
        ("", "is no folder of moesim's"),
    ],
)
def test_a_partial_folder_that_is_not_moesims_is_refused(tmp_path: Path, name: str, says: str) -> None:
    """``name`` is a file in it, a folder with /, a link with @; without a name, it is itself one."""
    out, partial, precious = tmp_path / "out", tmp_path / "out.partial", tmp_path / "precious"
    precious.mkdir()
    (precious / "mine").write_text("mine", encoding="utf-8")
    path = partial / name.rstrip("@/") if name.rstrip("@/") else partial
    if path != partial:
        partial.mkdir()
    if name.endswith("@"):
        path.symlink_to(precious)
    elif name.endswith("/"):
        path.mkdir()
    else:
        path.write_text("mine", encoding="utf-8")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"out\.partial") as told, workplace(out):
        pytest.fail("it was taken")
    assert says in str(told.value)
    assert tree(tmp_path) == before
    assert os.path.lexists(path)


def test_the_marks_that_filelock_makes_are_moesims(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "lock").write_text(f"{2**22 + 1}\n", encoding="utf-8")
    with workplace(tmp_path / "out"):
        pass
    assert not (tmp_path / "out.partial").exists()


class Killed(BaseException):
    """Stands for SIGKILL: what would clean up is not run."""


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_at_any_moment_of_replacing_loses_nothing(
    out: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """After so many renames of the two; the next command puts it right."""
    before, rename, done = tree(out), Path.rename, []

    def count(self: Path, target: Path) -> Path:
        if len(done) == renames:
            raise Killed
        done.append(target)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", count)
        patch.setattr(
            "simulator.results.folder.shutil.rmtree",
            lambda *_, **__: None if len(done) < 2 else count(out, out),
        )
        with pytest.raises(Killed):
            write(out, "two", summary_csv="2")
    assert out.with_name("out.partial").exists()
    assert not list(out.parent.glob(".*"))
    with workplace(out):
        found = tree(out)
    after = MINE | {"summary.csv": "2"}
    assert found == (before if renames < 2 else after)
    assert (out / "link").is_symlink()
    assert not out.with_name("out.partial").exists()


def test_old_results_are_not_put_over_what_came_in_their_place(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = out.with_name("out.partial")
    partial.mkdir()
    (partial / "lock").touch()
    (partial / "new").mkdir()
    out.rename(partial / "old")
    out.mkdir()
    with (
        pytest.raises(InputError, match="these are the results that were in out; move them away"),
        workplace(out),
    ):
        pytest.fail("it was taken")
    assert tree(partial / "old").items() >= MINE.items()


def test_what_comes_while_results_are_replaced_stays(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        if self == out:
            (out / "late.txt").write_text("mine", encoding="utf-8")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    write(out, "two", summary_csv="2")
    assert tree(out) == MINE | {"summary.csv": "2", "late.txt": "mine"}


def test_where_there_are_no_links_files_are_copied(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    write(out, "two", summary_csv="2")
    assert tree(out) == MINE | {"summary.csv": "2"}


def test_a_fault_of_the_disk_names_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    told = pytest.raises(InputError, match="cannot be written: No space left")
    with told as fault, fresh_folder(tmp_path / "out") as folder:
        raise InputError(str(folder / "figures"), "cannot be written: No space left on device")
    assert fault.value.where == str(tmp_path / "out" / "figures")
    assert list(tmp_path.iterdir()) == []


def test_force_keeps_the_files_of_others_on_the_command_line(tmp_path: Path) -> None:
    folder = copied("05", tmp_path)
    command = ("run", "e.yaml", "-j1", "--out")
    assert moesim(folder, *command, "out").returncode == 0
    (folder / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    assert moesim(folder, *command, "out/sub").returncode == 0
    sets = ("--set", "memory.gpu_expert_cache.fraction=0.25", "--force")
    assert moesim(folder, *command, "out", *sets).returncode == 0
    assert (folder / "out" / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert (folder / "out" / "sub" / "manifest.json").exists()
    (folder / "vdir").mkdir()
    (folder / "vdir" / "precious.txt").write_text("mine", encoding="utf-8")
    (folder / "other.partial").symlink_to("vdir")
    (folder / "o3.partial").mkdir()
    (folder / "o3.partial" / "mynotes.txt").write_text("mine", encoding="utf-8")
    for out, option in (("other", "--force"), ("o3", "--resume"), ("o3", "--force")):
        done = moesim(folder, *command, out, option)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"{out}.partial" in done.stderr
    assert (folder / "vdir" / "precious.txt").exists()
    assert (folder / "o3.partial" / "mynotes.txt").exists()
