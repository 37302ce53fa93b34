"""Eviction by a score that moves with time: the lowest goes."""

from __future__ import annotations

from collections.abc import Container, Sequence

from policies.base import Event, Eviction


class Scored(Eviction):
    """Evicts the resident key of the lowest ``score``, of equal ones the lowest key.

    Scores change only when a step is observed, used or prefetched for, so one ranking serves all
    victims of a step: a heap would have to be rebuilt at every step anyhow.
    """

    def __init__(self) -> None:
        self.present: set[int] = set()
        self.ranking: list[int] | None = None
        self.layer = 0

    def score(self, key: int) -> float:
        """Return what keeping ``key`` is worth now."""
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
            self.ranking = [key for _, key in sorted((self.score(key), key) for key in self.present)]
        present = self.present
        return next((key for key in self.ranking if key in present and key not in blocked), None)

    def layers_ahead(self, key: int) -> int:
        """Return how many layer steps lie from now to the next of the key's layer (0: it is now)."""
        n, context = self.context.n_versions, self.context
        return (key // (n * context.n_experts) - self.layer) % context.n_layers


class ScoredInSequence(Scored):
    """A score from records that end with the sequence; ``passes`` counts the sequence's passes so far."""

    def __init__(self) -> None:
        super().__init__()
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
