"""Validation: what the simulator predicts beside what a real run recorded."""
