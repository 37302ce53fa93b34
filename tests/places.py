"""Where things lie: this project, and what is beside it and not shipped."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
WHOLE_PROFILE = ROOT / "tests" / "machine" / "whole.yaml"
"""The machine rtx4090-pcie4, each of its numbers spelled out, for tests that change one."""
