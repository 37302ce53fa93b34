"""Both engines: what is worked out by hand holds for each."""

from __future__ import annotations

import pytest

from .adapter import run_engine
from .by_hand import Run
from .reference import run_reference


@pytest.fixture(params=["reference", "engine"])
def run(request: pytest.FixtureRequest) -> Run:
    return {"reference": run_reference, "engine": run_engine}[request.param]
