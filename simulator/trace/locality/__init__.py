"""Locality: how much a trace's routing repeats, concentrates and can be foreseen, in numbers."""
