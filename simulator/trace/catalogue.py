"""The catalogue: traces that others published, where each is and how it becomes a moesim trace.

A YAML file, ``traces/catalogue.yaml`` or the one that the environment's MOESIM_CATALOGUE names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urljoin, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from simulator import data
from simulator.config.yaml_file import load_yaml
from simulator.errors import InputError, did_you_mean

Positive = Annotated[int, Field(gt=0, strict=True)]
Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]


def _web(url: str) -> str:
    """Allow what a download may be asked of; an address of the file system is none of them."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address begins with https:// or http://")
    return url


def _inside(path: str) -> str:
    """Allow only a plain relative path: it becomes a file below the cache folder."""
    part = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
    if not re.fullmatch(rf"{part}(/{part}){{0,5}}", path) or path.endswith(".partial"):
        raise ValueError("a relative path of letters, digits and _.-")
    return path


def _known_format(name: str) -> str:
    from simulator.trace.importers.registry import IMPORTERS

    if name not in IMPORTERS:
        raise ValueError(f"unknown format; {did_you_mean(name, IMPORTERS)}")
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Strict):
    """A file to download: its address (from the entry's ``base``), size, hash and place in the folder."""

    path: Annotated[str, AfterValidator(_inside)]
    url: Text
    bytes: Positive
    sha256: Sha256 | None  # None: nobody has vouched for these bytes, and the user is told so


class Shape(_Strict):
    """The size of a routing, as in a trace's header."""

    moe_layers: Positive
    experts: Positive
    top_k: Positive


class Import(_Strict):
    """How the files are read: as ``moesim trace import`` with the options of the same names."""

    format: Annotated[str, AfterValidator(_known_format)]
    source: Annotated[str, AfterValidator(_inside)] | None = None  # one of the files; None: their folder
    phase: str | None = None
    model: str | None = None
    n_experts: Positive | None = None
    top_k: Positive | None = None


class Entry(_Strict):
    """A published trace. Without ``files`` it cannot be fetched, and ``by_hand`` says what to do."""

    model: Text
    shape: Shape
    tokens: Positive | None
    what: Text
    licence: Text
    source: Annotated[str, AfterValidator(_web)]
    base: Annotated[str, AfterValidator(_web)] | None = None
    files: tuple[File, ...] = ()
    importer: Import | None = None
    by_hand: str = ""
    notes: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.files) == bool(self.by_hand) or bool(self.files) != bool(self.importer):
            raise ValueError("an entry has files and importer, or by_hand")
        if len({file.path.lower() for file in self.files}) < len(self.files):
            raise ValueError("two files have the same path")
        if any(
            file.path.lower().startswith(f"{other.path.lower()}/")
            for file in self.files
            for other in self.files
        ):
            raise ValueError("a path is both a file and a folder")
        for file in self.files:
            _web(self.url(file))
        return self

    def url(self, file: File) -> str:
        """Return the address of a file."""
        return urljoin(self.base or "", file.url)

    @property
    def bytes(self) -> int:
        """What is to be downloaded."""
        return sum(file.bytes for file in self.files)

    @property
    def unverified(self) -> int:
        """Number of files whose hash is unknown."""
        return sum(file.sha256 is None for file in self.files)


class Catalogue(_Strict):
    """Entries by the name under which a trace is fetched, and then named in experiments."""

    traces: dict[Name, Entry]

    def entry(self, name: str) -> Entry:
        """Return an entry. Errors: InputError (no such name)."""
        if name not in self.traces:
            raise InputError(name, "not in the catalogue", did_you_mean(name, self.traces))
        return self.traces[name]


def load_catalogue() -> Catalogue:
    """Read the catalogue. Errors: InputError with file and line."""
    chosen = os.environ.get("MOESIM_CATALOGUE")
    return load_yaml(Path(chosen) if chosen else data.folder("traces") / "catalogue.yaml", Catalogue)
