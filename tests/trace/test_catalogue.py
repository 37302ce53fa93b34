"""The catalogue of published traces: its schema, its names and its entries."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from simulator import data
from simulator.errors import InputError
from simulator.model.load import load_model
from simulator.trace.catalogue import load_catalogue
from simulator.trace.find import cache_folder, find_trace
from simulator.trace.footer import read_trace_header
from tests.trace.examples import RECORDED, needs_recorded
from tests.trace.fetching import TRACE, moesim, refused, write_catalogue
from tests.trace.loopback import Site

pytestmark = pytest.mark.usefixtures("cache")


def test_names_are_found_or_explained(tiny: Site, cache: Path, tmp_path: Path) -> None:
    assert find_trace("olmoe-mini") == data.folder("traces") / "olmoe-mini.parquet"
    with pytest.raises(InputError, match="tiny: not fetched yet; moesim trace fetch tiny"):
        find_trace("tiny")
    with pytest.raises(InputError, match="tinny: unknown trace; did you mean 'tiny'"):
        find_trace("tinny")
    with pytest.raises(InputError, match="no such file"):
        find_trace(str(tmp_path / "absent.parquet"))
    assert refused("trace", "fetch", "tinny") == "tinny: not in the catalogue; did you mean 'tiny'?"
    moesim("trace", "fetch", "tiny")
    assert find_trace("tiny") == cache / TRACE


def test_default_cache_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOESIM_CACHE")
    assert cache_folder().is_absolute()
    assert "moesim" in cache_folder().parts


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"path": "../r.csv"}, "a relative path"),
        ({"path": "/etc/r.csv"}, "a relative path"),
        ({"path": "a\\..\\r.csv"}, "a relative path"),
        ({"path": "r.csv.partial"}, "a relative path"),
        ({"path": ".lock"}, "a relative path"),
        ({"url": "file:///etc/passwd"}, "an address begins with https"),
        ({"base": None}, "an address begins with https"),
        ({"base": "file:///etc/"}, "an address begins with https"),
        ({"source": "javascript:alert(1)"}, "an address begins with https"),
        ({"sha256": "abc"}, "sha256"),
        ({"bytes": 0}, "bytes"),
        ({"bytes": True}, "bytes"),
        ({"importer": {"format": "bigmo"}}, "did you mean 'bigmoe'"),
        ({"importer": {"format": "bigmoe", "source": "../r.csv"}}, "a relative path"),
        ({"importer": None}, "files and importer, or by_hand"),
        ({"by_hand": "do this"}, "files and importer, or by_hand"),
        ({"files": []}, "files and importer, or by_hand"),
        ({"licenze": "MIT"}, "unknown key"),
        ({"tokens": -1}, "tokens"),
        ({"source": "http://["}, "Invalid IPv6"),
    ],
)
def test_bad_catalogue_is_refused_at_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict, told: str
) -> None:
    write_catalogue(tmp_path, monkeypatch, "http://127.0.0.1", **change)
    line = refused("list", "traces")
    assert line.startswith(f"{tmp_path / 'catalogue.yaml'}:")
    assert told in line


@pytest.mark.parametrize("paths", [("r.csv", "R.csv"), ("r", "r/s")])
def test_paths_must_not_collide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: tuple[str, str]
) -> None:
    files = [{"path": path, "url": "x", "bytes": 1, "sha256": None} for path in paths]
    write_catalogue(tmp_path, monkeypatch, "http://127.0.0.1", files=files)
    assert "path" in refused("list", "traces")


def test_entry_by_hand_says_what_to_do(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_catalogue(tmp_path, monkeypatch, "http://x", files=None, importer=None, by_hand="fill in the form")
    assert "[by hand] my-moe" in moesim("list", "traces")
    line = refused("trace", "fetch", "tiny")
    assert line == "tiny: cannot be fetched; fill in the form (https://example.org/tiny)"
    assert not cache.exists()


def test_shipped_names_are_free() -> None:
    assert not set(load_catalogue().traces) & set(data.names("traces"))


@pytest.mark.parametrize("name", load_catalogue().traces)
def test_shipped_shape_is_the_models(name: str) -> None:
    entry = load_catalogue().traces[name]
    if entry.model not in data.names("models"):
        pytest.skip(f"moesim has no spec of {entry.model}")
    model = load_model(entry.model)
    assert (entry.shape.moe_layers, entry.shape.experts) == (len(model.moe_layers), model.n_experts)
    assert entry.shape.top_k == model.top_k or "reduced" in entry.notes


@pytest.mark.parametrize("name", [name for name, entry in load_catalogue().traces.items() if entry.files])
def test_shipped_addresses_are_pinned(name: str) -> None:
    """A branch moves; an address that has a commit in it does not."""
    entry = load_catalogue().traces[name]
    for file in entry.files:
        parts = entry.url(file).split("/")
        assert parts[:3] == ["https:", "", "raw.githubusercontent.com"]
        assert len(parts[5]) == 40
        assert set(parts[5]) <= set("0123456789abcdef")


LOCAL = {
    "bigmoe-qwen3-30b-a3b": "bigmoe/{}",
    "bigmoe-gpt-oss-120b": "bigmoe/{}",
    "gpt-oss-20b-physics": "gpt-oss-20b/raw-mmlu-physics.json",
    "esft-summary": "deepseek-v2-lite-esft/summary/{}",
}


@needs_recorded
@pytest.mark.parametrize("name", LOCAL)
def test_shipped_entry_fetches_the_recorded_files(name: str, cache: Path) -> None:
    """Hashes, sizes, shape and tokens of an entry are those of the files, without any network."""
    entry = load_catalogue().traces[name]
    assert entry.unverified == 0
    for file in entry.files:
        source, target = RECORDED / LOCAL[name].format(file.path), cache / "downloads" / name / file.path
        assert source.stat().st_size == file.bytes
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    moesim("trace", "fetch", name)
    header = read_trace_header(find_trace(name))
    assert header.licence == entry.licence
    assert os.path.commonpath([find_trace(name), cache]) == str(cache)
