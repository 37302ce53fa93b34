"""MoE-Infinity's expert activation matrices (EAM), and the collection (EAMC) that predicts from them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from policies.base import Context, Event

Matrix = npt.NDArray[np.float64]


class ActivationMatrices:
    """The present sequence's matrix [L, E] of token counts, and those of finished sequences.

    A full collection replaces the matrix that is most like the new one (cosine of the flattened
    matrices). Learnt from what has run, and before that from the sequences of the training trace.
    """

    def __init__(self, context: Context, capacity: int, matches: int) -> None:
        self.shape = (context.n_layers, context.n_experts)
        self.capacity, self.matches = capacity, matches
        self.present: Matrix = np.zeros(self.shape)
        self.finished: list[Matrix] = []
        self.known: dict[int, Matrix] = {}  # the prediction at an event
        if context.training is not None:
            trace = context.training
            for sequence in np.unique(trace.sequence):
                experts = trace.experts[trace.sequence == sequence]
                for layer in range(context.n_layers):
                    ids = experts[:, layer]
                    self.present[layer] = np.bincount(ids[ids >= 0], minlength=context.n_experts)
                self.end_sequence()

    def add(self, event: Event) -> None:
        """Count the tokens that a layer step sends to its experts."""
        first = event.layer * self.shape[1]
        self.present[event.layer, [key - first for key in event.keys]] += event.tokens

    def end_sequence(self) -> None:
        """Put the present matrix into the collection and start a new one."""
        if not self.present.any():
            return
        if len(self.finished) < self.capacity:
            self.finished.append(self.present)
        else:
            self.finished[int(np.argmax(self._likeness()))] = self.present
        self.present = np.zeros(self.shape)
        self.known.clear()

    def predicted(self, event: int) -> Matrix:
        """Return the expected activation [L, E], rows that sum to 1 (or 0), as of ``event``.

        The sum of the matrices most like the present one; the present one where nothing has finished.
        """
        if event not in self.known:
            found = self.present
            if self.finished:
                best = np.argsort(-self._likeness(), kind="stable")[: self.matches]
                found = sum((self.finished[i] for i in best.tolist()), np.zeros(self.shape))
            total = found.sum(axis=1, keepdims=True)
            shares: Matrix = np.zeros(self.shape)
            np.divide(found, total, out=shares, where=total > 0)
            self.known = {event: shares}
        return self.known[event]

    def _likeness(self) -> npt.NDArray[np.float64]:
        """Return the cosine of each finished matrix with the present one (whole counts: sums are exact)."""
        some = np.array([matrix.ravel() for matrix in self.finished])
        present = self.present.ravel()
        norms = np.sqrt((some * some).sum(axis=1) * (present * present).sum())
        products = (some * present).sum(axis=1)
        likeness: npt.NDArray[np.float64] = np.zeros(len(some))
        np.divide(products, norms, out=likeness, where=norms > 0)
        return likeness
