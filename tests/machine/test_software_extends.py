"""A software profile that extends another: what it takes over, where its base is, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.machine.software import load_software

CHILD = "name: child\nextends: {base}\nissue: {{graphs: none, node: null}}\n"


def written(folder: Path, name: str, text: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return str(folder / name)


def test_only_what_it_says_differs(tmp_path: Path) -> None:
    base, child = load_software("imp"), load_software(written(tmp_path, "c.yaml", CHILD.format(base="imp")))
    assert base.issue is not None
    issue = base.issue.model_copy(update={"graphs": "none", "node": None})
    assert child == base.model_copy(update={"name": "child", "issue": issue})


def test_a_path_is_from_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = "name: {name}\ntitle: t\nbooks: {{{numbers}}}\n"
    numbers = ", ".join(
        f"{key}: {{value: 1 us, measured: false, source: made up}}"
        for key in ("round_trip", "lookup", "miss", "evict")
    )
    written(tmp_path / "sub", "q.yaml", whole.format(name="q", numbers=numbers))
    written(tmp_path, "q.yaml", "name: another\ntitle: t\n")
    child = load_software(written(tmp_path / "sub", "c.yaml", "name: c\nextends: ./q.yaml\n"))
    assert child.books is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: c\nextends: nope\n", "c.yaml:2: extends: nope: unknown software profile"),
        ("name: c\nextends:\n", "c.yaml:2: extends: None"),
        ("name: c\nextends: 3\n", "c.yaml:2: extends: 3"),
        ("name: c\nextends: imp-no-graphs\n", "extends another itself"),
        ("extends: imp\n", "name: missing"),
        ("name: a/b\nextends: imp\n", "name"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        load_software(written(tmp_path, "c.yaml", text))
    assert said in str(refused.value)


def test_a_fault_of_the_base_is_the_bases(tmp_path: Path) -> None:
    written(tmp_path, "bad.yaml", "name: bad\ntitle: t\nbooks: {round_trip: 3}\n")
    with pytest.raises(InputError, match=r"bad\.yaml:3"):
        load_software(written(tmp_path, "c.yaml", "name: c\nextends: ./bad.yaml\n"))
