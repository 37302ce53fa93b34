"""The library: traces, models, profiles and bounds, loaded or worked out once for all runs of a sweep."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.assemble.run import Inputs, Run
from simulator.engine.future import KnownFuture, belady_hit_rate
from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec
from simulator.machine.find import load_machine
from simulator.machine.hardware import HardwareProfile
from simulator.machine.software import IDEAL, SoftwareProfile, load_software
from simulator.model.load import load_model
from simulator.model.spec import ModelSpec
from simulator.results.folder import file_sha256
from simulator.trace.core import Trace
from simulator.trace.find import find_trace
from simulator.trace.parts import read_only, spans, split
from simulator.trace.sizes import TraceModel, trace_model


class Library:
    """Loads traces, models and profiles once each."""

    def __init__(self) -> None:
        self.trace = cache(self._trace)
        self.model = cache(load_model)
        self.hardware = cache(load_machine)
        self.software = cache(load_software)
        self.digest = cache(file_sha256)
        self.bounds: dict[tuple[Any, ...], tuple[float | None, str]] = {}
        self.demands: dict[tuple[Any, ...], npt.NDArray[np.int64]] = {}

    @staticmethod
    def _trace(name: str) -> tuple[Trace, Path]:
        from simulator.trace.parquet import read_trace

        path = find_trace(name)
        return read_only(read_trace(path)), path

    def inputs(self, spec: RunSpec) -> tuple[Inputs, Path]:
        """Return what a run needs, loaded."""
        path = self.trace(spec.experiment.trace)[1]
        trace, learnt = self.traces(spec)
        model: ModelSpec | TraceModel
        if spec.experiment.model == "trace":
            model = trace_model(trace.header)
            if spec.experiment.precision.experts or spec.experiment.precision.dense:
                raise InputError(
                    "precision", "model: trace has only the recorded sizes", "name a model instead"
                )
        else:
            model = self.model(spec.experiment.model)
        hardware: HardwareProfile = self.hardware(spec.experiment.hardware)
        software: SoftwareProfile = self.software(spec.experiment.software or IDEAL)
        return Inputs(spec.experiment, model, hardware, software, trace, spec.seed, learnt), path

    def traces(self, spec: RunSpec) -> tuple[Trace, Trace | None]:
        """Return what a run replays, and what policies learn from beforehand, where that is given.

        Errors: InputError where ``training_share`` leaves no sequence to replay.
        """
        experiment = spec.experiment
        trace = self.trace(experiment.trace)[0]
        if experiment.training_trace is not None:
            return trace, self.trace(experiment.training_trace)[0]
        if experiment.training_share is None:
            return trace, None
        n = len(spans(trace))
        n_learnt = ceil(Fraction(str(experiment.training_share)) * n)
        if n_learnt >= n:
            fault = f"{experiment.training_share} of {n} in {experiment.trace} leaves no sequence to replay"
            raise InputError(
                "training_share", fault, "a smaller share, a training_trace, or null for neither"
            )
        learnt, replayed = split(trace, n_learnt)
        return replayed, learnt

    def lookups(self, spec: RunSpec, run: Run) -> npt.NDArray[np.int64]:
        """Return how many layer steps demand each expert [layer, expert], once for each workload."""
        key = (spec.experiment.trace, spec.experiment.training_share, spec.experiment.workload)
        if key not in self.demands:
            shape = len(run.layer_bytes), run.n_experts
            keys = np.fromiter(itertools.chain.from_iterable(run.events()), dtype=np.int64)
            self.demands[key] = np.bincount(keys, minlength=shape[0] * shape[1]).reshape(shape)
        return self.demands[key]

    def belady(self, spec: RunSpec, run: Run) -> tuple[float | None, str]:
        """Return the bound for tier 0 and its kind, once for each demand, capacity and partition."""
        experiment = spec.experiment
        if run.n_versions > 1:
            return None, "none: several precisions"
        pools = run.pools(0)
        key = (
            experiment.trace,
            experiment.training_share,
            experiment.workload,
            run.layer_bytes,
            tuple((capacity, tuple(layers)) for capacity, layers in pools),
            run.runtime.evict,
        )
        if key not in self.bounds:
            events = run.events()
            context = replace(run.context(), future=KnownFuture(events))
            layers = itertools.cycle(range(len(run.layer_bytes)))
            bound = belady_hit_rate(events, layers, pools, run.layer_bytes, context, run.runtime.evict)
            self.bounds[key] = (bound.hit_rate, "heuristic" if bound.heuristic else "exact")
        return self.bounds[key]
