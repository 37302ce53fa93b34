"""Small inputs that once failed: ``../shared/failing``, where that folder is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.places import SHARED

FAILING = SHARED / "failing" / "2026-11-26"


def copied(name: str, into: Path) -> Path:
    """Copy the folder of one failing input, writable, into ``into``; skip the test where it is absent.

    ``name`` is how the folder's name begins: "01", "f05".
    """
    found = sorted(FAILING.glob(f"{name}-*"))
    if not found:
        pytest.skip(f"needs ../shared/failing/2026-11-26/{name}-*")
    folder = into / name
    shutil.copytree(found[0], folder, copy_function=shutil.copyfile)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    return folder
