"""A file that cannot be read is called what it is, whichever reader meets it, in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.files import check_source
from tests.command_line import GOOD, refused

READERS = {
    "experiment": ("x.yaml", ["run", "./x.yaml"]),
    "base": ("x.yaml", ["run", "./extends.yaml"]),
    "model": ("x.yaml", ["run", "./e.yaml", "--set", "model=./x.yaml"]),
    "config.json": ("x.json", ["run", "./e.yaml", "--set", "model=./x.json"]),
    "hardware": ("x.yaml", ["run", "./e.yaml", "--set", "hardware=./x.yaml"]),
    "trace": ("x.parquet", ["run", "./e.yaml", "--set", "trace=./x.parquet"]),
    "training trace": ("x.parquet", ["run", "./e.yaml", "--set", "training_trace=./x.parquet"]),
    "trace info": ("x.parquet", ["trace", "info", "x.parquet"]),
    "parameters": ("x.yaml", ["trace", "synth", "--params", "x.yaml", "-o", "t.parquet"]),
}


def placed(folder: Path, reader: str) -> tuple[Path, list[str]]:
    (folder / "e.yaml").write_text(GOOD)
    (folder / "extends.yaml").write_text("extends: x.yaml\n")
    name, words = READERS[reader]
    return folder / name, words


@pytest.mark.parametrize("reader", READERS)
def test_what_cannot_be_read_is_called_what_it_is(tmp_path: Path, reader: str) -> None:
    path, words = placed(tmp_path, reader)
    assert f"{path.name}: no such file" in refused(tmp_path, *words)
    path.touch()
    assert f"{path.name}: is empty" in refused(tmp_path, *words)
    path.unlink()
    os.mkfifo(path)
    assert f"{path.name}: is no file" in refused(tmp_path, *words)
    path.unlink()
    path.mkdir()
    line = refused(tmp_path, *words)
    assert f"{path.name}: is a folder" in line or (
        reader in ("model", "config.json") and f"{path.name}/config.json: no such file" in line
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("reader", READERS)
def test_what_may_not_be_read_says_so(tmp_path: Path, reader: str) -> None:
    path, words = placed(tmp_path, reader)
    path.write_text("x")
    path.chmod(0)
    assert f"{path.name}: may not be read: permission denied" in refused(tmp_path, *words)


def test_permission_is_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x").write_text("x")
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match="x: may not be read: permission denied"):
        check_source(tmp_path / "x")


def test_a_disk_that_fails_is_not_damage_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.trace import footer

    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error")

    (tmp_path / "x.parquet").write_text("x")
    monkeypatch.setattr(footer, "check_footer", failing)
    with pytest.raises(InputError, match=r"x\.parquet: cannot be read: Input/output error$"):
        footer.read_trace_header(tmp_path / "x.parquet")
