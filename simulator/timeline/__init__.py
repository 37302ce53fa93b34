"""Timelines: what a run did, nanosecond by nanosecond, as a trace that trace viewers open."""

from __future__ import annotations

from simulator.timeline.make import ChosenRun, Written, choose_run, write_timeline

__all__ = ["ChosenRun", "Written", "choose_run", "write_timeline"]
