"""A trace-driven discrete-event simulator of Mixture-of-Experts (MoE) expert offloading."""

__version__ = "0.2.0"
