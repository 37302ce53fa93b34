"""Both engines: what is worked out by hand holds for each."""

from __future__ import annotations

import pytest

from .adapter import run_engine
from .by_hand import Run
from .processes import run_processes
from .reference import run_reference


@pytest.fixture(params=["reference", "engine", "simpy"])
def run(request: pytest.FixtureRequest) -> Run:
    return {"reference": run_reference, "engine": run_engine, "simpy": run_processes}[request.param]
