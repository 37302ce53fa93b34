"""What a run answers beside the records of its passes, whichever engine played it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes that each link moved, the most that each caching tier held, how prefetches ended (§5, §10)."""

    link_bytes: dict[str, int]
    peak_bytes: dict[str, int]
    started: int
    useful: int
    unused: int
    cancelled: int
    dropped: int
    wasted_bytes: int
