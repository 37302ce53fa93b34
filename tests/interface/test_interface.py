"""The Python interface gives what the command line gives, and takes policies as objects."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import simulator as moesim
from policies.base import Eviction
from policies.eviction.lru import LRU
from simulator.errors import InputError
from simulator.runs.experiment import run_experiment
from simulator.trace.core import Trace
from simulator.trace.parts import take

SMALL = {"workload.max_sequences": 2, "workload.max_decode_tokens": 4, "training_share": None}
ONE: dict[str, Any] = {"extends": "quickstart", "sweep": None}
GRID = {"memory.gpu_expert_cache.fraction": [0.5], "system": ["lru-on-demand", "lru-gate-lookahead"]}
TWO: dict[str, Any] = {"extends": "quickstart", "sweep": {"grid": GRID}}


class Mine(Eviction):
    """First in, first out, in a few lines."""

    def __init__(self) -> None:
        self.entries: dict[int, None] = {}

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Note what is new; it has its place from now on."""
        for key in keys:
            self.entries.setdefault(key)

    def on_insert(self, key: int) -> None:
        """Note what came last."""
        self.entries.setdefault(key)

    def on_evict(self, key: int) -> None:
        """Forget it."""
        self.entries.pop(key, None)

    def victim(self, blocked: Any) -> int | None:
        """Name what came first."""
        return next((key for key in self.entries if key not in blocked), None)


def test_importing_the_package_loads_no_other() -> None:
    said = (
        "import simulator, sys; print([m for m in ('numpy', 'pandas', 'yaml', 'simpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_everything_that_is_offered_is_there_and_says_what_it_is() -> None:
    for name in moesim.__all__:
        assert getattr(moesim, name).__doc__
        assert name in dir(moesim)
    with pytest.raises(AttributeError, match="no attribute 'plot'"):
        moesim.plot  # noqa: B018


def test_a_sweep_is_what_the_command_line_writes(tmp_path: Path) -> None:
    results = moesim.sweep(TWO, SMALL, out=tmp_path / "a", progress=False)
    sets = ["workload.max_sequences=2", "workload.max_decode_tokens=4", "training_share=null"]
    (tmp_path / "e.yaml").write_text(json.dumps(TWO))
    run_experiment(str(tmp_path / "e.yaml"), sets, tmp_path / "b")
    assert (tmp_path / "a" / "summary.csv").read_bytes() == (tmp_path / "b" / "summary.csv").read_bytes()
    assert list(moesim.read_results(tmp_path / "a").summary["system"]) == list(results.summary["system"])
    table = results.compare("lru-on-demand")
    assert len(table) == 2
    assert table.attrs["notes"]
    assert table.attrs["units"]["tokens_per_second"] == "tokens/s"
    assert isinstance(results.figure("hit-rate"), Figure)
    assert set(results.tokens["phase"]) == {"prefill", "decode"}
    assert results.experts.attrs["units"] == {}


def test_a_policy_may_be_an_object_or_a_class() -> None:
    by_name = moesim.run(ONE, {**SMALL, "policies.eviction": "lru"}).summary
    by_class = moesim.run(ONE, SMALL, {"eviction": LRU}).summary
    by_object = moesim.run(ONE, SMALL, {"eviction": LRU()}).summary
    metrics = by_name.columns[by_name.columns.get_loc("tokens_per_second") :]
    metrics = [name for name in metrics if by_name[name].dtype.kind == "f"]
    assert by_class[metrics].equals(by_name[metrics])
    assert by_object[metrics].equals(by_name[metrics])
    fifo = moesim.run(ONE, {**SMALL, "policies.eviction": "fifo"}).summary
    assert moesim.run(ONE, SMALL, {"eviction": Mine}).summary[metrics].equals(fifo[metrics])


def test_what_is_wrong_is_said_in_one_line() -> None:
    with pytest.raises(InputError, match="has 12 runs; play them all with sweep"):
        moesim.run("quickstart")
    with pytest.raises(InputError, match="Mine is no prefetch policy"):
        moesim.load_experiment(ONE, policies={"prefetch": Mine})
    with pytest.raises(InputError, match="unknown axis 'evicton'"):
        moesim.load_experiment(ONE, policies={"evicton": Mine})
    with pytest.raises(InputError, match="modle"):
        moesim.load_experiment({"modle": "olmoe-1b-7b"})
    with pytest.raises(InputError, match="unknown figure"):
        moesim.run(ONE, SMALL).figure("hitrate")
    with pytest.raises(InputError, match="holds no summary"):
        moesim.read_results("nowhere")


def test_traces_are_read_by_name_and_their_locality_is_a_table() -> None:
    trace = moesim.read_trace("olmoe-mini")
    assert isinstance(trace, Trace)
    trace = take(trace, trace.sequence < 2)
    table = moesim.locality(trace, "decode")
    found = table[table["layer"].isna() & (table["statistic"] == "reuse") & (table["lag"] == 1)]
    assert 0 < found["value"].item() < 1
