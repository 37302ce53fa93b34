"""Readers of the traces that other tools record, one small file each."""
