"""Synthetic traces: a generative model of routing, and its fit to a trace or to published statistics."""
