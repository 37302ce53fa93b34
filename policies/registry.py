"""The table of policies: axis, name, class; and the one way to make them.

A policy is named in it, announced by an installed package as an entry point ``AXIS.NAME`` of the
group ``moesim.policies``, or given as ``path/to/file.py:Class``. Classes are imported when asked
for. Parameters are those of ``__init__``, checked against its annotations.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any

from policies import base
from policies.base import NEEDS, Policy
from policies.offered import copy_of, kind_of
from policies.parameters import construct
from simulator.config.paths import near, no_such_file
from simulator.errors import INTERRUPTS, InputError, did_you_mean, said
from simulator.trace.core import Trace

GROUP = "moesim.policies"

AXES: dict[str, type[Policy]] = {
    "eviction": base.Eviction,
    "admission": base.Admission,
    "partition": base.Partition,
    "prefetch": base.Prefetch,
    "precision": base.Precision,
    "placement": base.Placement,
    "routing": base.Routing,
    "order": base.Order,
}

BUILT_IN: dict[str, dict[str, str]] = {
    "eviction": {
        "lru": "policies.eviction.lru:LRU",
        "lfu": "policies.eviction.lfu:LFU",
        "fifo": "policies.eviction.fifo:FIFO",
        "random": "policies.eviction.random_:RandomEviction",
        "static-popularity": "policies.eviction.static_popularity:StaticPopularity",
        "belady": "policies.eviction.belady:Belady",
        "recorded": "policies.eviction.recorded:RecordedResidency",
        "decayed-lfu": "policies.eviction.decayed_lfu:DecayedLFU",
        "lfru": "policies.eviction.lfru:LFRU",
        "least-stale": "policies.eviction.least_stale:LeastStale",
        "hobbit": "policies.eviction.hobbit:Hobbit",
        "lcu": "policies.eviction.lcu:LCU",
        "frequency-distance": "policies.eviction.edgemoe:FrequencyDistance",
        "activation-aware": "policies.eviction.activation_aware:ActivationAware",
        "pinned": "policies.eviction.pinned:Pinned",
        "slru": "policies.eviction.slru:SLRU",
        "2q": "policies.eviction.two_queue:TwoQueue",
        "arc": "policies.eviction.arc:ARC",
        "sieve": "policies.eviction.sieve:Sieve",
        "s3-fifo": "policies.eviction.s3_fifo:S3FIFO",
        "lirs": "policies.eviction.lirs:LIRS",
        "w-tinylfu": "policies.eviction.w_tinylfu:WTinyLFU",
        "prompts-pass-by": "policies.eviction.prompts_pass_by:PromptsPassBy",
        "mrs": "policies.eviction.mrs:MRS",
        "plec": "policies.eviction.plec:PLEC",
    },
    "admission": {
        "always": "policies.admission.always:Always",
        "belady-bypass": "policies.admission.belady_bypass:BeladyBypass",
    },
    "partition": {
        "global": "policies.partition.global_:Global",
        "per-layer": "policies.partition.per_layer:PerLayer",
        "whole-layers": "policies.partition.whole_layers:WholeLayers",
        "adapmoe": "policies.partition.adapmoe:AdapMoE",
        "shallow-first": "policies.partition.shallow_first:ShallowFirst",
    },
    "prefetch": {
        "none": "policies.prefetch.none:NoPrefetch",
        "oracle": "policies.prefetch.oracle:Oracle",
        "gate-lookahead": "policies.prefetch.gate_lookahead:GateLookahead",
        "transition": "policies.prefetch.transition:Transition",
        "activation-aware": "policies.prefetch.activation_aware:ActivationAware",
        "popularity": "policies.prefetch.popularity:Popularity",
        "previous-token": "policies.prefetch.previous_token:PreviousToken",
        "whole-layer": "policies.prefetch.whole_layer:WholeLayer",
        "uploads": "policies.prefetch.uploads:Uploads",
    },
    "precision": {
        "fixed": "policies.precision.fixed:Fixed",
        "hobbit": "policies.precision.hobbit:Hobbit",
        "by-importance": "policies.precision.by_importance:ByImportance",
        "prompt-tail": "policies.precision.prompt_tail:PromptTail",
    },
    "placement": {
        "fetch": "policies.placement.fetch:Fetch",
        "cpu": "policies.placement.cpu:Cpu",
        "fiddler": "policies.placement.fiddler:Fiddler",
        "fetch-share": "policies.placement.fetch_share:FetchShare",
        "least-weighty": "policies.placement.least_weighty:LeastWeighty",
        "two-ended": "policies.placement.two_ended:TwoEnded",
        "deferred": "policies.placement.deferred:Deferred",
    },
    "routing": {
        "as-recorded": "policies.routing.as_recorded:AsRecorded",
        "adaptive-gating": "policies.routing.adaptive_gating:AdaptiveGating",
    },
    "order": {
        "as-routed": "policies.order.as_routed:AsRouted",
        "ascending": "policies.order.ascending:Ascending",
    },
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of ``moesim list policies``."""

    axis: str
    name: str
    doc: str
    cite: str
    learns_beforehand: bool


def create(axis: str, spec: str | Mapping[str, Any], where: str | None = None) -> Any:
    """Return a new, unbound policy of an axis: an instance of the axis's class in ``policies.base``.

    ``spec`` is a name, ``path/to/file.py:Class`` (experiments make it absolute), or a mapping of
    ``name`` (either of these) and parameters. ``where`` is the option to blame.
    Errors: InputError (unknown name, unusable file, parameter that the policy does not take).
    """
    where = where or f"policies.{axis}"
    given = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise InputError(where, "the policy has no name", "write 'lru', or '{name: lfu, PARAMETER: ...}'")
    made = copy_of(axis, name, given, where)
    return made or construct(_find(axis, name, where), name, given, where)


def defaults(axis: str, spec: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a policy that need not be given, with their values. Errors: as ``create``."""
    name = spec if isinstance(spec, str) else spec["name"]
    known = signature(_find(axis, name, f"policies.{axis}")).parameters.items()
    return {name: declared.default for name, declared in known if declared.default is not Parameter.empty}


def check_needs(policy: Policy, trace: Trace, trace_name: str) -> None:
    """Refuse a trace that cannot feed a policy. Errors: InputError (names policy, need and trace)."""
    check_declared(policy)
    offers = trace.offers()
    lacks = sorted(need for need in policy.needs if need not in offers)
    if lacks:
        needs, lacking = ", ".join(sorted(policy.needs)), ", ".join(lacks)
        fault = f"the policy {named(policy)} needs {needs}"
        way_out = "; moesim trace weigh gives it assumed ones" if "gate_weights" in lacks else ""
        raise InputError(trace_name, fault, f"the trace has no {lacking}{way_out}")
    policy.check(trace)


FLAGS = ("learns_beforehand", "refuses", "shields", "uses_cpu")
"""What a policy says of itself with True or False."""


def check_declared(policy: Policy) -> None:
    """Refuse what a policy says of itself in another type than it has. Errors: InputError."""
    needs: object = policy.needs
    if not isinstance(needs, set | frozenset) or not all(isinstance(need, str) for need in needs):
        hint = f"a frozenset of {', '.join(sorted(NEEDS))}"
        raise InputError(named(policy), f"its needs are {reprlib.repr(needs)}", hint)
    for name in FLAGS:
        value = getattr(policy, name, False)
        if not isinstance(value, bool):
            raise InputError(named(policy), f"its {name} is {reprlib.repr(value)}", "True or False")


def named(policy: Policy) -> str:
    """Return a policy's name and axis, ``lru (eviction)``; of one that has no name, its class's."""
    kind = type(policy)
    names = {ref: f"{name} ({axis})" for axis, table in BUILT_IN.items() for name, ref in table.items()}
    return names.get(f"{kind.__module__}:{kind.__qualname__}", kind.__qualname__)


def learns_beforehand(axis: str, spec: str | Mapping[str, Any]) -> bool:
    """Return whether a policy, by its class, uses what is learnt from beforehand. Errors: as ``create``."""
    name = spec if isinstance(spec, str) else spec["name"]
    return _find(axis, name, f"policies.{axis}").learns_beforehand


def source(axis: str, name: str) -> ModuleType | None:
    """Return the module that a policy is loaded from; None for a built-in one. Errors: as ``create``."""
    if name in BUILT_IN[axis] or kind_of(axis, name) is not None:
        return None
    _find(axis, name, f"policies.{axis}")
    names = _names(axis)
    module = names.get(name, name).rpartition(":")[0]
    return import_module(module) if name in names else _load_file(Path(module))


def distribution(axis: str, name: str) -> Distribution | None:
    """Return the installed package that announces a policy; None where none does."""
    found = (point for point in sorted(entry_points(group=GROUP)) if point.name == f"{axis}.{name}")
    point = next(found, None)
    return point.dist if point is not None and name not in BUILT_IN[axis] else None


def listing() -> list[Listed]:
    """Return every policy that has a name, by axis."""
    rows = []
    for axis in AXES:
        for name in _names(axis):
            kind = _find(axis, name, f"policies.{axis}")
            doc = (kind.__doc__ or "").strip().partition("\n")[0]
            rows.append(Listed(axis, name, doc, kind.cite, kind.learns_beforehand))
    return rows


@cache
def _names(axis: str) -> dict[str, str]:
    """Return ``module:Class`` of each named policy of an axis; built-in names cannot be taken."""
    names = dict(BUILT_IN[axis])
    for point in sorted(entry_points(group=GROUP)):
        of, _, name = point.name.partition(".")
        if of == axis:
            names.setdefault(name, point.value)
    return names


def _find(axis: str, name: str, where: str) -> type[Policy]:
    return kind_of(axis, name) or _load(axis, name, where)


@cache
def _load(axis: str, name: str, where: str) -> type[Policy]:
    names = _names(axis)
    ref = names.get(name, name)
    source, _, attribute = ref.rpartition(":")
    if name not in names and not source.endswith(".py"):
        raise InputError(where, f"unknown policy '{name}'", did_you_mean(name, names))
    if name not in names and not Path(source).is_file():
        missing = no_such_file(source)
        raise InputError(where, f"{missing.where}: {missing.what}", missing.hint)
    try:
        module = import_module(source) if name in names else _load_file(Path(source))
    except INTERRUPTS:
        raise
    except BaseException as error:  # whatever the code of a third party does when it is imported
        fault = f"{type(error).__name__}: {said(error)}".removesuffix(": ")
        raise InputError(where, f"cannot load {near(source)}: {fault}") from error
    found = vars(module).get(attribute)
    wanted = AXES[axis]
    if not isinstance(found, type) or not issubclass(found, wanted):
        hint = f"a class that derives from policies.base.{wanted.__name__} is wanted"
        raise InputError(where, f"{near(source)} has no {axis} policy '{attribute}'", hint)
    return found


@cache
def _load_file(path: Path) -> ModuleType:
    name = "moesim_policy_" + path.resolve().as_posix().replace("/", "_").replace(".", "_")
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
