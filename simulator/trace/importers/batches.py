"""Which sequence each token of a forward pass belongs to, where an engine records positions alone.

SGLang's scheduler keeps its running requests in the order in which their prompts ended, lets those that
finished drop out, and cuts one prompt at a time into chunks, the last one of a prefill pass. So:
in a prefill pass a run of tokens from a position above 0 continues the last prompt of the prefill pass
before if it ended there, and is a new sequence otherwise (its beginning was in the prefix cache). In a
decode pass a token continues the first running sequence after that of the token before that has come to
its position, going round once, and is otherwise a sequence that began before the recording. A mixed pass
has prompts first; the runs of one token at its end are decoded. Two sequences that come to the same
position, of which one has finished, can be mistaken for each other. Source: sglang/srt/managers,
schedule_batch.py and schedule_policy.py.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Running:
    """A sequence that may go on, and the position of its next token."""

    number: int
    position: int


class Batch:
    """The sequences that run, pass after pass, numbered from ``first`` as they appear."""

    def __init__(self, first: int = 0) -> None:
        self.n_sequences = first
        self.running: list[Running] = []
        self.chunked: Running | None = None

    def take(self, starts: Sequence[int], lengths: Sequence[int], n_decoded: int) -> list[int]:
        """Return the sequence of each run of a pass, of which the last ``n_decoded`` are decoded tokens.

        ``starts`` are the positions of the runs' first tokens.
        """
        n_prompts = len(starts) - n_decoded
        prompts = self._extend(starts[:n_prompts], lengths[:n_prompts]) if n_prompts else []
        if n_decoded:
            decoded = self._decode(starts[n_prompts:])
            self.running = prompts + decoded
        else:
            decoded = []
            self.running += prompts
        return [one.number for one in prompts + decoded]

    def _extend(self, starts: Sequence[int], lengths: Sequence[int]) -> list[Running]:
        """Return the sequences of prompts, and take out of the running ones what goes on."""
        before, self.chunked = self.chunked, None
        prompts: list[Running] = []
        for start, length in zip(starts, lengths, strict=True):
            if before is not None and before.position == start:
                self.running = [one for one in self.running if one is not before]
                one, before = before, None
            else:
                one = self._new(start)
            one.position = start + length
            prompts.append(one)
        self.chunked = prompts[-1]
        return prompts

    def _decode(self, positions: Sequence[int]) -> list[Running]:
        """Return the sequences of decoded tokens; what runs and is not among them has finished."""
        places = defaultdict(list)
        for place, one in enumerate(self.running):
            places[one.position].append(place)
        found: list[Running] = []
        after = 0
        for position in positions:
            candidates = places[position]
            if candidates:
                place = candidates.pop(bisect_left(candidates, after) % len(candidates))
                one, after = self.running[place], place + 1
            else:
                one = self._new(position)
            one.position = position + 1
            found.append(one)
            if one is self.chunked:
                self.chunked = None
        return found

    def _new(self, position: int) -> Running:
        """Return a sequence that was not there before."""
        self.n_sequences += 1
        return Running(self.n_sequences - 1, position)
