"""What is learnt beforehand is for policies that say so: a run that knows the future is not ranked."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from policies.base import Context, Policy
from simulator.errors import PolicyError
from simulator.trace.core import Trace


def as_read_by(policy: Policy, context: Context) -> Context:
    """Return the context as a policy may read it."""
    if policy.learns_beforehand:
        return context
    shared = {one.name: getattr(context, one.name) for one in fields(context) if one.name not in GUARDED}
    return Guarded(**shared, whole=context, reader=policy)


@dataclass(frozen=True, slots=True)
class Guarded(Context):
    """A context whose ``popularity`` and ``learnt`` are there once its reader sets ``learns_beforehand``.

    ``whole`` has them. They are looked up at each reading, because ``bind`` may settle what a policy is.
    """

    popularity: npt.NDArray[np.int64] | None = field(init=False, repr=False, compare=False)
    learnt: Trace | None = field(init=False, repr=False, compare=False)
    whole: Context | None = field(default=None, repr=False, compare=False)
    reader: Policy | None = field(default=None, repr=False, compare=False)

    def __getattr__(self, name: str) -> object:
        """Return what has no value here. Errors: PolicyError (the policy does not say that it learns)."""
        if name not in GUARDED:
            raise AttributeError(f"'Context' object has no attribute '{name}'")
        if self.reader is not None and not self.reader.learns_beforehand:
            said = f"is False, but it reads context.{name}: set learns_beforehand = True"
            raise PolicyError(type(self.reader), "learns_beforehand", said)
        return getattr(self.whole, name)


GUARDED = frozenset({"popularity", "learnt"})
