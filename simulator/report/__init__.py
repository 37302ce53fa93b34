"""A results folder as one HTML page that needs no network.

It reads results only, and runs nothing of what it reads.
"""

from __future__ import annotations

from simulator.report.page import write_report

__all__ = ["write_report"]
