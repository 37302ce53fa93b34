"""Calibration: what this machine's memory, drive and processors do, measured, as a hardware profile."""
