"""What a trace of served requests holds, and what is said of files that cannot be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from tests.trace.examples import one_line
from tests.trace.importers.serving_files import Request, Row

NAME = "expert_distribution_recorder_1.5_0.pt"


def refusal(path: Path, name: str | None, options: ImportOptions | None = None) -> str:
    with pytest.raises(InputError) as caught:
        import_trace(path, name, options)
    line = one_line(caught.value)
    assert len(line) < 600
    return line


def rows_of(trace: Trace) -> list[Row]:
    """Return the trace as the scheduler writes its rows."""
    ids = [0] * trace.n_tokens if trace.token_id is None else trace.token_id.tolist()
    columns = trace.sequence.tolist(), trace.position.tolist(), trace.phase.tolist(), ids
    experts = [tuple(tuple(row) for row in token) for token in trace.experts.tolist()]
    return list(zip(*columns, experts, strict=True))


def served(requests: list[Request]) -> list[Row]:
    """Return what a trace of these requests should hold."""
    return sorted(row for request in requests for row in request.rows)
