"""The tensors of an expert, as far as a run of BigMoeOnEdge tells them.

That engine reads each tensor on its own, in whole blocks, from wherever it starts in one: a block more
than its bytes, in the mean. So the bytes that the metrics of a run say were read, less those of the
experts that it missed, are a block for each tensor of each miss.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from simulator.errors import InputError
from simulator.trace.core import DECODE, Trace
from simulator.trace.importers.limits import CSV_EXPANSION, check_file
from simulator.trace.importers.text import lines

BLOCK = 4096
NEAR = 0.1
"""How far the blocks of a miss may be from a whole number: .02 and .04 in the published runs."""
NAMES = {2: "gate and up as one, and down", 3: "gate, up and down"}
KNOWN = (
    "an expert is {n} tensors ({names}), by the bytes read; their sizes assume matrices of as many weights, "
    "of one precision where an expert is smallest, while elsewhere down has the rest"
)
UNKNOWN = "the tensors of an expert are not known: {why}"

Tensors = tuple[tuple[int, ...], ...]


def metrics_beside(route: Path) -> Path | None:
    """Return ``X.metrics.csv`` beside ``X.route.csv``, None where it is absent."""
    path = route.with_name(f"{route.name.removesuffix('.route.csv')}.metrics.csv")
    return path if route.name.endswith(".route.csv") and path.is_file() else None


def bytes_read(metrics: Path) -> list[int]:
    """Return what each decoded token of a metrics CSV read. Errors: InputError (not such a file)."""
    check_file(metrics, CSV_EXPANSION)
    try:
        rows = csv.DictReader(line for line in lines(metrics) if not line.startswith("#"))
        return [int(row["read_bytes"]) for row in rows]
    except (KeyError, TypeError, ValueError, csv.Error):
        raise InputError(
            str(metrics), "does not say what each token read", "the metrics CSV of BigMoeOnEdge"
        ) from None


def find_tensors(trace: Trace, read: Sequence[int] | None) -> tuple[Tensors | None, str]:
    """Return the bytes of an expert's tensors by layer, None if they are not known, and a note on that.

    ``read`` has the bytes that each decoded token read, None where nobody says.
    """
    sizes = trace.header.expert_bytes
    if sizes is None:
        return None, UNKNOWN.format(why="its bytes are not")
    if read is None:
        return None, UNKNOWN.format(why="no metrics lie beside the trace")
    n = _count(trace, read)
    if n is None:
        return None, UNKNOWN.format(why="the bytes read do not tell how many there are")
    return tensor_bytes(sizes, n), KNOWN.format(n=n, names=NAMES[n])


def tensor_bytes(expert_bytes: Sequence[int], n_tensors: int) -> Tensors:
    """Return the bytes of each tensor by layer: mixes of llama.cpp give more bits to down alone."""
    third = min(expert_bytes) // 3
    first = (2 * third,) if n_tensors == 2 else (third, third)
    return tuple((*first, n_bytes - sum(first)) for n_bytes in expert_bytes)


def _count(trace: Trace, read: Sequence[int]) -> int | None:
    """Return how many tensors each miss read, None where the bytes do not tell."""
    assert trace.recorded_bytes is not None
    missed = trace.recorded_bytes[trace.phase == DECODE]
    n_missed = int((missed > 0).sum())
    if not n_missed or len(missed) != len(read):
        return None
    blocks = (sum(read) - int(missed.sum())) / n_missed / BLOCK
    n = round(blocks)
    return n if n in NAMES and abs(blocks - n) <= NEAR else None
