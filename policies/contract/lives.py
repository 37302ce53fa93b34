"""Short lives of a pool, drawn at random: experts are used, inserted and evicted, sequences start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from policies.base import Event, Eviction
from policies.contract.rule import Make
from policies.contract.toy import Run, bound
from policies.contract.toy_trace import N_EXPERTS, trace

N_LIVES, LONGEST = 200, 30
Step = tuple[str, Any]
"""One of ``use`` with keys, ``insert`` or ``evict`` with a key, ``sequence``."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A pool after a step of its life: the policy, who is in the pool, who may not go, what has happened."""

    policy: Eviction
    present: frozenset[int]
    blocked: frozenset[int]
    story: str

    @property
    def free(self) -> list[int]:
        """Return who may go."""
        return sorted(self.present - self.blocked)


def lives() -> Iterator[list[Step]]:
    """Yield lives, the shortest first, the same ones each time."""
    draw = Random(1)  # noqa: S311 - draws, no secrets
    for number in range(N_LIVES):
        yield [_step(draw) for _ in range(1 + number * LONGEST // N_LIVES)]


def played(make: Make, life: list[Step]) -> Iterator[Moment]:
    """Play a life with a new policy; yield the moment before its first step, and after each."""
    demand = [keys for kind, keys in life if kind == "use"]
    run = Run(trace(n_layers=1))
    policy = bound(make, run, run.context(demand))
    assert isinstance(policy, Eviction)
    draw = Random(len(life))  # noqa: S311 - draws, no secrets
    present: frozenset[int] = frozenset()
    index, story = 0, []
    yield Moment(policy, present, frozenset(), "nothing")
    for kind, keys in life:
        story.append(kind if keys is None else f"{kind} {keys}")
        if kind == "use":
            used, n = tuple(keys), len(keys)
            event = Event(index, 0, used, (1,) * n, (1.0,) * n, (index % 2,), decode=True)
            policy.observe(event, used)
            policy.on_use(used, index)
            present |= {*keys}
            index += 1
        elif kind == "insert" and keys not in present:
            policy.on_insert(keys)
            present |= {keys}
        elif kind == "evict":
            policy.on_evict(keys)
            present -= {keys}
        elif kind == "sequence":
            policy.on_sequence_start()
        yield Moment(policy, present, _some(draw), ", ".join(story[-6:]))


def _step(draw: Random) -> Step:
    kind = draw.choice(["use", "insert", "evict", "sequence"])
    if kind == "sequence":
        return kind, None
    if kind == "use":
        return kind, draw.sample(range(N_EXPERTS), draw.randint(0, 4))
    return kind, draw.randrange(N_EXPERTS)


def _some(draw: Random) -> frozenset[int]:
    return frozenset(draw.sample(range(N_EXPERTS), draw.randint(0, N_EXPERTS)))
