"""Two threads for torch, so that the recorder's tests are good neighbours."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(scope="session", autouse=True)
def two_threads() -> None:
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(2)
