"""A small valid example of every format that can be imported."""

from __future__ import annotations

from tests.trace.importers import serving_files, trace_files

FILES = trace_files.FILES | serving_files.FILES
