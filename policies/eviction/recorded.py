"""The residency that the recording engine had, replayed."""

from __future__ import annotations

from collections.abc import Container, Sequence

from policies.base import Context, Event, Eviction
from simulator.trace.core import Trace


class RecordedResidency(Eviction):
    """Answers each lookup as the trace recorded it, so that errors of time can be told from errors of policy.

    An expert that several tokens of a step demand was resident if its first row says so. What the record
    finds missing while it is here must have been evicted since; it leaves when that shows. The
    capacity does not bind.
    """

    refuses = True
    needs = frozenset({"recorded_residency"})
    cite = "shared with calibration: the policy that a device really ran"
    trace: Trace

    def bind(self, context: Context) -> None:
        """Take the trace."""
        super().bind(context)
        assert context.trace is not None
        self.trace = context.trace

    def residency(self, event: Event) -> Sequence[bool]:
        """Return, for each key of the event, whether the recording engine had it."""
        rows = list(event.rows)
        resident = self.trace.recorded_resident
        assert resident is not None
        first: dict[int, bool] = {}
        offset = event.layer * self.context.n_experts
        experts = self.trace.experts[rows, event.layer].ravel().tolist()
        for expert, there in zip(experts, resident[rows, event.layer].ravel().tolist(), strict=True):
            first.setdefault(offset + expert, there == 1)
        return [first[key] for key in event.keys]

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Nothing to remember: the record decides."""

    def on_insert(self, key: int) -> None:
        """Nothing to remember."""

    def on_evict(self, key: int) -> None:
        """Nothing to forget."""

    def victim(self, blocked: Container[int]) -> int | None:
        """Nobody goes but by the record."""
        return None
