"""Eviction by a score that moves with time: the lowest goes."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np
import numpy.typing as npt

from policies.base import Context, Event, Eviction

Keys = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


class Scored(Eviction):
    """Evicts the resident key of the lowest score, of equal ones the lowest key.

    Scores change only when a step is observed, used or prefetched for, so one ranking serves all
    victims of a step: a heap would have to be rebuilt at every step anyhow. It is made in NumPy: hundreds
    are resident, and are ranked at every miss.
    """

    def __init__(self) -> None:
        self.present: set[int] = set()
        self.ranking: list[int] | None = None
        self.layer = 0

    def bind(self, context: Context) -> None:
        """Count the experts of all layers, and their versions."""
        super().bind(context)
        self.n_experts = context.n_layers * context.n_experts
        self.n_keys = self.n_experts * context.n_versions

    def scores(self, keys: Keys) -> Scores:
        """Return what keeping each of ``keys`` is worth now."""
        raise NotImplementedError

    def on_sequence_start(self) -> None:
        """Rank anew; what is here stays."""
        self.ranking = None

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Note where the run is."""
        self.layer = event.layer
        self.ranking = None

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Count the keys in."""
        self.present.update(keys)
        self.ranking = None

    def on_insert(self, key: int) -> None:
        """Count a prefetched key in."""
        self.present.add(key)
        self.ranking = None

    def on_evict(self, key: int) -> None:
        """Forget that ``key`` is here."""
        self.present.discard(key)

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the key of the lowest score that is not blocked."""
        if self.ranking is None:
            keys = np.sort(np.fromiter(self.present, np.int64, len(self.present)))
            self.ranking = keys[np.argsort(self.scores(keys), kind="stable")].tolist()
        present = self.present
        return next((key for key in self.ranking if key in present and key not in blocked), None)

    def layers_ahead(self, keys: Keys) -> Keys:
        """Return how many layer steps lie from now to the next of each key's layer (0: it is now)."""
        context = self.context
        layers = keys // (context.n_versions * context.n_experts)
        return (layers - self.layer) % context.n_layers


class ScoredInSequence(Scored):
    """A score from records that end with the sequence; ``passes`` counts the sequence's passes so far."""

    def bind(self, context: Context) -> None:
        """Start the records."""
        super().bind(context)
        self.on_sequence_start()

    def on_sequence_start(self) -> None:
        """Forget all records."""
        super().on_sequence_start()
        self.passes = 0
        self.last_pass = -1
        self.forget()

    def forget(self) -> None:
        """Start the records anew."""
        raise NotImplementedError

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Count the passes."""
        super().observe(event, served)
        this_pass = event.index // self.context.n_layers
        if this_pass != self.last_pass:
            self.last_pass = this_pass
            self.passes += 1
