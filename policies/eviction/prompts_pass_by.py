"""Prompts pass by: what a prompt loads displaces nobody."""

from __future__ import annotations

from collections.abc import Container, Sequence

from policies.base import Context, Event, Eviction
from policies.registry import create
from simulator.trace.core import Trace


class PromptsPassBy(Eviction):
    """Evicts as ``inner`` does while decoding; in the steps of a prompt nobody goes.

    What a prompt loads is kept while there is free space, and streamed then. Its uses count.
    """

    refuses = True
    cite = "kekzl/imp, pull requests 1365 and 1408 (prompts go around the cache)"

    def __init__(self, inner: str = "lru") -> None:
        self.inner: Eviction = create("eviction", inner)
        self.needs = self.inner.needs  # type: ignore[misc]
        self.in_prompt = False

    def check(self, trace: Trace) -> None:
        """Refuse what ``inner`` refuses."""
        self.inner.check(trace)

    def check_training(self, trace: Trace) -> None:
        """Refuse what ``inner`` refuses."""
        self.inner.check_training(trace)

    def assumptions(self) -> Sequence[str]:
        """Say what ``inner`` assumes."""
        return self.inner.assumptions()

    def bind(self, context: Context) -> None:
        """Bind both."""
        super().bind(context)
        self.inner.bind(context)
        self.learns_beforehand = self.inner.learns_beforehand

    def on_sequence_start(self) -> None:
        """Tell ``inner``."""
        self.inner.on_sequence_start()

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Note whether a prompt is running."""
        self.in_prompt = not event.decode
        self.inner.observe(event, served)

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Tell ``inner``."""
        self.inner.on_use(keys, event)

    def on_insert(self, key: int) -> None:
        """Tell ``inner``."""
        self.inner.on_insert(key)

    def on_evict(self, key: int) -> None:
        """Tell ``inner``."""
        self.inner.on_evict(key)

    def preload(self, layers: Sequence[int]) -> Sequence[int]:
        """Start as ``inner`` does."""
        return self.inner.preload(layers)

    def victim(self, blocked: Container[int]) -> int | None:
        """Return nobody in a prompt, else whom ``inner`` names."""
        return None if self.in_prompt else self.inner.victim(blocked)
