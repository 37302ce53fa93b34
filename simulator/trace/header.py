"""The header of a trace as JSON: built, written and read with one-line errors."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from simulator.errors import InputError
from simulator.trace.core import TraceHeader

HEADER_KEY = b"moesim.header"


def read_header(metadata: dict[bytes, bytes], where: str) -> TraceHeader:
    """Return the header in a file's metadata. Errors: InputError (foreign, other version, bad)."""
    if HEADER_KEY not in metadata:
        raise InputError(where, f"no '{HEADER_KEY.decode()}' in its metadata", "not a moesim trace")
    try:
        fields = json.loads(metadata[HEADER_KEY])
        version = fields["schema_version"]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            where, "its header is not JSON with a schema_version", "not a moesim trace"
        ) from error
    if version != 1:
        raise InputError(
            where, f"schema version {version!r}", "this moesim reads version 1: update it, or import again"
        )
    return build_header(where, **fields)


def build_header(where: str, **fields: Any) -> TraceHeader:
    """Return the header of these fields. Errors: InputError naming the first bad field."""
    try:
        return TraceHeader(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(where, f"header: {key} is {first['input']!r}", first["msg"]) from error
