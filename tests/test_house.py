"""The house is in order: files are short, and tests lie in the room of what they test."""

from __future__ import annotations

import pytest

from tests.places import ROOT

LONGEST = 500
LONGER: dict[str, str] = {}
BESIDE_SIMULATOR = {
    "policies": "mirrors policies/",
    "laws": "what must hold whatever the system, over all rooms",
    "recorder": "mirrors simulator/trace/recorders/, and needs torch",
}


def lines(top: str) -> dict[str, int]:
    """Return the number of lines of each file of Python below ``top``."""
    return {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / top).rglob("*.py")
    }


@pytest.mark.parametrize("top", ["simulator", "policies", "tests"])
def test_no_file_is_longer_than_can_be_read(top: str) -> None:
    found = lines(top)
    assert found
    assert {name: n for name, n in found.items() if n > LONGEST and name not in LONGER} == {}


@pytest.mark.parametrize("name", LONGER)
def test_who_may_be_longer_is_longer(name: str) -> None:
    assert lines("tests")[name] > LONGEST, f"{name} needs no exception any more"


def test_every_room_of_tests_is_a_room_of_what_they_test() -> None:
    folders = {path.parent.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("*.py")}
    rooms = folders - {"."} - {*BESIDE_SIMULATOR}
    assert rooms
    assert [room for room in sorted(rooms) if not (ROOT / "simulator" / room / "__init__.py").is_file()] == []


@pytest.mark.parametrize("room", BESIDE_SIMULATOR)
def test_rooms_beside_the_simulators_have_tests(room: str) -> None:
    assert list((ROOT / "tests" / room).glob("test_*.py"))
