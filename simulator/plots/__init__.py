"""Figures: what a run folder shows, as PDF and PNG with the data beside them.

They read results only. matplotlib and pandas are imported when something is drawn.
"""

from __future__ import annotations

from simulator.plots.registry import FIGURES, draw, lacking, listing

__all__ = ["FIGURES", "draw", "lacking", "listing"]
