"""Records that cannot be replayed: counts, logits, the same records again; and weights that are not there."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from simulator.errors import InputError
from simulator.trace.importers.records import tables, values
from simulator.trace.importers.records.roles import Columns, plain
from simulator.trace.importers.records.tokens import Record

COUNTS = re.compile(
    r"(\w+_)?(counts?|hits|frequency|frequencies|freqs?|loads?|histogram|utili[sz]ation|n_tokens|num_tokens)"
)
LOGITS = re.compile(r"(\w+_)?logits?")
NO_TOKENS = (
    "counts of experts, without tokens: nothing to replay",
    "record the experts of each token (docs/guides/recording.md)",
)
NO_IDS = (
    "logits of the router alone: which experts were chosen does not follow from them in every model",
    "record the ids of the chosen experts (docs/guides/recording.md)",
)


def said_instead(columns: Columns) -> tuple[str, str] | None:
    """Return what is wrong, and the way out, with columns that have no choice of a token; else None."""
    names, unused = columns.names, [*map(plain, columns.unused)]
    if not {"position", "sequence", "experts"} & names.keys() and any(map(COUNTS.fullmatch, unused)):
        return NO_TOKENS
    if not {"experts", "expert"} & names.keys() and not columns.ids and any(map(LOGITS.fullmatch, unused)):
        return NO_IDS
    return None


def check_counts(where: str, rows: Sequence[tables.Row], columns: Columns) -> None:
    """Refuse numbered columns that count: one row a layer, numbers beyond the columns. Errors: InputError."""
    names = columns.names
    if not columns.ids or {"position", "sequence", "pass"} & names.keys() or "layer" not in names:
        return
    often = Counter(str(row.get(names["layer"])) for row in rows)
    cells = [values.whole(row.get(name)) for row in rows for name in columns.ids]
    if (
        max(often.values()) == 1
        and None not in cells
        and max(one or 0 for one in cells) >= len(columns.ids) > 2
    ):
        raise InputError(where, *NO_TOKENS)


def check_repeated(where: str, rows: Sequence[tables.Row], columns: Columns) -> None:
    """Refuse records that all come several times over, with request and position. Errors: InputError."""
    names = columns.names
    if not {"position", "sequence"} <= names.keys() or "pass" in names:
        return
    of_record = [
        *(names.get(ours, "") for ours in ("sequence", "position", "layer", "experts")),
        *columns.ids,
    ]
    times = Counter(tuple(str(row.get(name)) for name in of_record) for row in rows)
    n = math.gcd(*times.values())
    if n > 1 and "expert" not in names:
        hint = "ranks of one run record the same requests: keep the records of one"
        raise InputError(where, f"each record is there {n} times", hint)


def weights_known(records: Sequence[Record]) -> tuple[bool, list[str]]:
    """Return whether every choice has weights, and what to note where only some have."""
    chosen = [record for record in records if record.ids is not None]
    there = [
        record.weights is not None
        and not any(isinstance(one, float) and math.isnan(one) for one in record.weights)
        for record in chosen
    ]
    partly = any(record.weights is not None for record in chosen) and not all(there)
    return all(there), ["some weights were not recorded, so none are kept"] if partly else []
