"""The contract of policies as checks that anybody can run on a policy of theirs, as scikit-learn has them.

``check_policy(MRU)`` runs all checks. For a test of each, with pytest::

    @pytest.mark.parametrize(("name", "check"), checks_of(MRU))
    def test_mru(name, check):
        check()

The checks play a small run of 4 MoE layers with 8 experts each, 2 a token. A policy whose parameters fit
another run only (a number for each layer) is checked with parameters that fit this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from inspect import getdoc

from policies.base import Policy
from policies.contract import axes, conduct, eviction
from policies.contract.rule import BrokenRuleError, Make, Rule, raised
from policies.parameters import construct
from policies.registry import AXES
from simulator.errors import InputError


class ContractError(AssertionError):
    """A policy broke a rule of the contract: the name of the check, what was expected, what came."""

    def __init__(self, policy: str, check: str, rule: str, expected: str, came: str) -> None:
        self.policy, self.check, self.rule, self.expected, self.came = policy, check, rule, expected, came
        super().__init__(f"{policy} fails {check}: {rule} Expected {expected}; came {came}")

    def __reduce__(self) -> tuple[type[ContractError], tuple[str, str, str, str, str]]:
        """Return how to make it again: it travels between processes."""
        return type(self), (self.policy, self.check, self.rule, self.expected, self.came)


def check_policy(policy: type[Policy] | Callable[..., Policy], **parameters: object) -> None:
    """Check that a policy keeps the contract of its axis.

    ``policy`` is a class, or a function that makes a new policy at each call; ``parameters`` are passed to
    it. Errors: ContractError (the first broken rule), InputError (parameters that it does not take).
    """
    for _, check in checks_of(policy, **parameters):
        check()


def checks_of(
    policy: type[Policy] | Callable[..., Policy], **parameters: object
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the name of each check that applies to a policy, and a function that runs it.

    Arguments and errors are those of ``check_policy``; a policy of no axis is a TypeError.
    """
    make: Make = partial(policy, **parameters)
    if isinstance(policy, type):
        make = partial(construct, policy, policy.__qualname__, parameters, policy.__qualname__)
    kind = type(make())
    axis = next((axis for axis, base in AXES.items() if issubclass(kind, base)), None)
    if axis is None:
        wanted = ", ".join(base.__name__ for base in AXES.values())
        raise TypeError(f"{kind.__qualname__} derives from no axis of policies.base: {wanted}")
    for rule in (*conduct.RULES, *(eviction.RULES if axis == "eviction" else axes.RULES[axis])):
        yield rule.__name__, partial(_run, rule, make, kind.__qualname__)


def _run(rule: Rule, make: Make, name: str) -> None:
    """Run a check. Errors: as ``check_policy``."""
    said = (getdoc(rule) or "").partition("\n")[0].replace("``", "`")
    try:
        rule(make)
    except BrokenRuleError as broken:
        raise ContractError(name, rule.__name__, said, broken.expected, broken.came) from None
    except InputError:
        raise
    except Exception as error:
        raise ContractError(name, rule.__name__, said, "an answer", raised(error)) from error
