"""A folder that can be measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.calibrate import scratch
from simulator.errors import InputError
from tests.calibrate.made_up import KIB


@pytest.fixture
def drive_folder(tmp_path: Path) -> Path:
    try:
        with scratch.scratch_file(tmp_path, 4 * KIB):
            return tmp_path
    except InputError as error:
        pytest.skip(f"the folder of temporary files cannot be measured: {error}")
