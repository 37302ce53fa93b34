"""Model specs: sizes of experts, dense blocks and caches."""

from simulator.model.load import TraceModel, load_model, trace_model
from simulator.model.spec import ModelSpec

__all__ = ["ModelSpec", "TraceModel", "load_model", "trace_model"]
