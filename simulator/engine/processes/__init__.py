"""The law of time as a SimPy model: the engine to read, to check the law against, and to extend."""

from simulator.engine.processes.engine import Engine
from simulator.engine.processes.tiers import Pool, Tier

__all__ = ["Engine", "Pool", "Tier"]
