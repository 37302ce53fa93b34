"""Both engines: what is worked out by hand holds for each."""

from __future__ import annotations

import pytest

from .adapter import run_engine, run_simpy
from .by_hand import Run


@pytest.fixture(params=["engine", "simpy"])
def run(request: pytest.FixtureRequest) -> Run:
    return {"engine": run_engine, "simpy": run_simpy}[request.param]
