"""A catalogue of one trace, the file that it names, and ``moesim`` called in this process."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from simulator.cli import app
from simulator.errors import InputError
from tests.trace.importers.test_bigmoe import BIGMOE

# Rows are repeated in other turns so that the file is larger than several of the blocks it comes in.
ROWS = BIGMOE.splitlines(keepends=True)
LARGE = BIGMOE + "".join(
    f"{turn}{row[1:]}" for turn in range(2, 1500) for row in ROWS[6:] if row.startswith("0,")
)
CONTENT = LARGE.encode()
N_TOKENS = 5 + 1498 * 3
HASH = hashlib.sha256(CONTENT).hexdigest()


def write_catalogue(folder: Path, monkeypatch: pytest.MonkeyPatch, address: str, **changes: object) -> dict:
    """Write a catalogue with the entry ``tiny`` of one file; return the entry."""
    file = {"path": "r.csv", "url": "r.csv", "bytes": len(CONTENT), "sha256": HASH}
    file |= {key: changes.pop(key) for key in list(changes) if key in file}
    entry: dict = {
        "model": "my-moe",
        "shape": {"moe_layers": 2, "experts": 9, "top_k": 3},
        "tokens": N_TOKENS,
        "what": "an example",
        "licence": "CC0",
        "source": "https://example.org/tiny",
        "base": f"{address}/",
        "files": [file],
        "importer": {"format": "bigmoe", "source": "r.csv"},
    } | changes
    entry = {key: value for key, value in entry.items() if value is not None or key == "tokens"}
    path = folder / "catalogue.yaml"
    path.write_text(yaml.safe_dump({"traces": {"tiny": entry}}))
    monkeypatch.setenv("MOESIM_CATALOGUE", str(path))
    return entry


def moesim(*arguments: str) -> str:
    """Run a command in this process; return what it printed, or raise what it refused."""
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def refused(*arguments: str) -> str:
    with pytest.raises(InputError) as error:
        moesim(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def contents(cache: Path) -> list[str]:
    """Return the files of the cache but for locks."""
    files = (path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file())
    return sorted(name for name in files if not name.endswith(".lock"))


PARTIAL, DOWNLOADED, TRACE = "downloads/tiny/r.csv.partial", "downloads/tiny/r.csv", "tiny.parquet"
