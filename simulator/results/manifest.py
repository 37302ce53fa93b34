"""The manifest: what ran, when, on what, from which files."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import simulator
from simulator import __version__
from simulator.results.summary import RunResult

PACKAGES = ("simpy", "numpy", "pandas", "pyarrow", "pydantic", "matplotlib")


def provenance(
    config_sha256: str,
    runs: Sequence[RunResult],
    command: Sequence[str],
    started: datetime,
    engine: str = "player",
) -> dict[str, Any]:
    """Return the manifest: what ran, on what, from which files."""
    return {
        "schema_version": 1,
        "moesim_version": __version__,
        "git_commit": _git_commit(),
        "config_sha256": config_sha256,
        "inputs": sorted({f"{name}: {digest}" for run in runs for name, digest in run.inputs.items()}),
        "seeds": sorted({int(str(run.identity["seed"])) for run in runs}),
        "runs": len(runs),
        "engine": engine,
        "command": list(command),
        "started_utc": started.isoformat(timespec="seconds"),
        "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def _git_commit() -> str | None:
    """Return the commit of the checkout that this code is in, if it is in one."""
    here = Path(simulator.__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    found = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    return found.stdout.strip() or None
