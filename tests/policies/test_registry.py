"""The registry: names, parameters, files, entry points, and refusals in one line."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from policies import registry
from policies.base import Policy
from policies.registry import AXES, BUILT_IN, check_needs, create, listing
from simulator.errors import InputError
from tests.policies.tools import trace

GOOD = '''
"""Somebody's policies."""
from __future__ import annotations
from dataclasses import dataclass
from policies.base import Admission, Eviction

class Picky(Admission):
    """Admits below a limit.

    More of it.
    """
    cite = "me"
    def __init__(self, limit: float, names: list[str] | None = None, anything=None) -> None:
        if limit < 0:
            raise ValueError(f"limit: {limit} is negative")
        self.limit = limit
    def admits(self, key, victim, event):
        return key < self.limit

class Bare(Eviction):
    pass
'''


@pytest.fixture(autouse=True)
def _fresh():
    registry._names.cache_clear()
    registry._load.cache_clear()
    yield
    registry._names.cache_clear()
    registry._load.cache_clear()


@pytest.fixture
def picky(tmp_path):
    path = tmp_path / "picky.py"
    path.write_text(GOOD)
    return f"{path}:Picky"


def refusal(axis, spec, **where):
    with pytest.raises(InputError) as error:
        create(axis, spec, **where)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("axis", "name"), [(axis, name) for axis in BUILT_IN for name in BUILT_IN[axis]])
def test_every_name_makes_a_policy_of_its_axis(axis, name):
    assert isinstance(create(axis, name), AXES[axis])
    assert isinstance(create(axis, {"name": name}), AXES[axis])


def test_each_call_makes_a_policy_of_its_own():
    assert create("eviction", "lru") is not create("eviction", "lru")


def test_parameters_are_passed_on():
    assert create("eviction", {"name": "lfu", "survive_eviction": True}).survive_eviction is True
    assert create("prefetch", {"name": "oracle", "n_layers": 3}).n_layers == 3


@pytest.mark.parametrize(
    ("axis", "name", "fault"),
    [
        ("eviction", "lruu", "'lruu'; did you mean 'lru'?"),
        ("eviction", "static_popularity", "'static_popularity'; did you mean 'static-popularity'?"),
        ("order", "xyz", "'xyz'; allowed: as-routed, ascending"),
        ("order", "x:y", "'x:y'; allowed: as-routed, ascending"),
    ],
)
def test_unknown_names_are_refused(axis, name, fault):
    assert refusal(axis, name) == f"policies.{axis}: unknown policy {fault}"


@pytest.mark.parametrize("spec", [{"survive_eviction": True}, {"name": 3}])
def test_a_policy_without_a_name_is_refused(spec):
    hint = "write 'lru', or '{name: lfu, PARAMETER: ...}'"
    assert refusal("eviction", spec) == f"policies.eviction: the policy has no name; {hint}"


@pytest.mark.parametrize(
    ("axis", "name", "given", "fault"),
    [
        ("eviction", "lru", {"size": 3}, "lru has no parameter 'size'; it has none"),
        (
            "eviction",
            "lfu",
            {"survive": 1},
            "lfu has no parameter 'survive'; did you mean 'survive_eviction'?",
        ),
        (
            "eviction",
            "lfu",
            {"survive_eviction": "yes"},
            "lfu: survive_eviction: 'yes'; write true; YAML 1.2 takes yes for a word",
        ),
        ("prefetch", "oracle", {"n_layers": True}, "oracle: n_layers: True; Input should be a valid integer"),
        (
            "prefetch",
            "oracle",
            {"n_layers": 0},
            "oracle: n_layers: 0; Input should be greater than or equal to 1",
        ),
    ],
)
def test_bad_parameters_are_refused(axis, name, given, fault):
    assert refusal(axis, {"name": name, **given}) == f"policies.{axis}: {fault}"


def test_the_option_to_blame_can_be_named():
    assert refusal("eviction", "lruu", where="policies.cpu_eviction").startswith("policies.cpu_eviction: ")


def test_a_policy_from_a_file(picky):
    policy = create("admission", {"name": picky, "limit": 3, "names": ["a"], "anything": object})
    assert policy.limit == 3
    assert policy.admits(2, 0, 0)


def test_a_policy_from_a_file_is_checked_too(picky):
    file = picky.rpartition(":")[0]
    assert refusal("admission", picky) == f"policies.admission: {picky} needs the parameter 'limit'"
    assert refusal("admission", {"name": picky, "limit": -1.5}) == (
        f"policies.admission: {picky}: limit: -1.5 is negative"
    )
    assert "Input should be a valid number" in refusal("admission", {"name": picky, "limit": "3"})
    wanted = "a class that derives from policies.base.{} is wanted"
    assert refusal("admission", f"{file}:Pickyy") == (
        f"policies.admission: {file} has no admission policy 'Pickyy'; {wanted.format('Admission')}"
    )
    assert wanted.format("Eviction") in refusal("eviction", picky)
    assert wanted.format("Admission") in refusal("admission", f"{file}:annotations")


def test_a_file_that_cannot_be_loaded(tmp_path):
    path = tmp_path / "broken.py"
    assert refusal("order", f"{path}:Mine") == f"policies.order: {path}: no such file"
    path.write_text("1 / 0")
    assert refusal("order", f"{path}:Mine") == (
        f"policies.order: cannot load {path}: ZeroDivisionError: division by zero"
    )


def test_an_installed_package_announces_policies(monkeypatch, tmp_path):
    (tmp_path / "their_policies.py").write_text(GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        EntryPoint("admission.picky", "their_policies:Picky", registry.GROUP),
        EntryPoint("admission.always", "their_policies:Picky", registry.GROUP),
        EntryPoint("eviction.bare", "their_policies:Bare", registry.GROUP),
        EntryPoint("order.gone", "their_lost_policies:Gone", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert create("admission", {"name": "picky", "limit": 1}).limit == 1
    assert type(create("admission", "always")).__name__ == "Always"  # a built-in name cannot be taken
    assert refusal("order", "gone").startswith(
        "policies.order: cannot load their_lost_policies: ModuleNotFoundError"
    )
    points.pop()
    registry._names.cache_clear()
    rows = {(row.axis, row.name): row for row in listing()}
    row = rows["admission", "picky"]
    assert (row.doc, row.cite) == ("Admits below a limit.", "me")
    assert rows["eviction", "bare"].doc == ""


def test_the_listing_says_what_each_policy_does_and_where_it_is_from():
    rows = listing()
    assert {(row.axis, row.name) for row in rows} >= {(a, n) for a in BUILT_IN for n in BUILT_IN[a]}
    assert [row.axis for row in rows] == sorted((row.axis for row in rows), key=list(AXES).index)
    plain = {"always", "global", "none", "fixed", "fetch", "as-recorded", "as-routed"}
    for row in rows:
        assert row.doc.endswith(".")
        assert row.cite or row.name in plain


class Demanding(Policy):
    needs = frozenset({"future", "predictions", "gate_top"})


def test_a_trace_that_cannot_feed_a_policy_is_refused():
    weighed = trace([[[0, 1]]], weights=np.ones((1, 1, 2), np.float32))
    check_needs(create("precision", "hobbit"), weighed, "t.parquet")
    with pytest.raises(InputError) as error:
        check_needs(create("precision", "hobbit"), trace([[[0, 1]]]), "t.parquet")
    assert str(error.value) == (
        "t.parquet: the policy hobbit (precision) needs gate_weights; the trace has no gate_weights; "
        "moesim trace weigh gives it assumed ones"
    )
    with pytest.raises(InputError) as error:
        check_needs(Demanding(), trace([[[0, 1]]]), "t")
    assert str(error.value) == (
        "t: the policy Demanding needs future, gate_top, predictions; the trace has no gate_top, predictions"
    )


def test_classes_are_imported_when_asked_for_and_the_engine_never():
    code = (
        "import sys; from policies.registry import create, listing; "
        "assert 'policies.eviction.lru' not in sys.modules; create('eviction', 'lru'); "
        "assert 'policies.eviction.lfu' not in sys.modules; listing(); "
        "assert not [m for m in sys.modules if m.startswith('simulator.engine')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
