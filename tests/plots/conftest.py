"""The style that figures have in tests that draw without saving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator.plots.style import paper


@pytest.fixture
def in_the_style_of_papers() -> Iterator[None]:
    with paper():
        yield
