"""A site that serves the trace of a catalogue, and a cache of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trace.fetching import CONTENT, write_catalogue
from tests.trace.loopback import Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    with serving({"/r.csv": CONTENT}) as site:
        yield site


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MOESIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Site) -> Site:
    write_catalogue(tmp_path, monkeypatch, site.address)
    return site
