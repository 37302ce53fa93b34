"""The batches of a recording on disk, until all are there: what makes it interruptible.

``.OUT.parts`` beside the output holds ``settings.json``, that which decides what is recorded, and
a trace for each finished batch. A batch appears under its name only when it is whole, so that a
recording may be killed at any time.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simulator.errors import InputError
from simulator.files import check_target
from simulator.trace.core import Trace
from simulator.trace.parquet import GROUP_BYTES, TraceWriter, write_trace
from simulator.trace.parts import gathered
from simulator.trace.stream import read_chunks
from simulator.whole import whole

SETTINGS = "settings.json"


class Parts:
    """Where the batches of one recording wait: enter, ``start``, ``write`` what is not ``done``, ``join``.

    Entering raises InputError where the output exists and ``force`` is off, or where an interrupted
    recording is in the way and ``resume`` is off. On leaving, a folder without batches is removed.
    """

    def __init__(self, output: Path, *, resume: bool, force: bool = False) -> None:
        self.output, self.resume, self.force = output, resume, force
        self.folder = output.with_name(f".{output.name}.parts")
        self.done = {int(part.stem) for part in self.folder.glob("[0-9]*.parquet")}

    def __enter__(self) -> Self:
        """Check that nothing is in the way."""
        check_target(self.output, force=self.force)
        if not self.output.parent.is_dir():
            raise InputError(
                str(self.output), "its folder does not exist", "create it, or choose another path"
            )
        if self.done and not self.resume:
            raise InputError(
                str(self.output),
                f"a recording of it was interrupted, {len(self.done)} batches are done",
                f"continue with --resume, or remove {self.folder}",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing where nothing was recorded."""
        if not self.done:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, settings: Mapping[str, Any]) -> None:
        """Begin, or continue a recording of the same ``settings``. Errors: InputError (others)."""
        file, now = self.folder / SETTINGS, json.loads(json.dumps(settings))
        if not self.done:
            with self._saying_what_disks_say():
                self.folder.mkdir(exist_ok=True)
                with whole(file) as new:
                    new.write_text(json.dumps(now, indent=1))
            return
        try:
            before = dict(json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            raise InputError(str(file), "cannot be read", f"remove {self.folder} and start anew") from None
        for name in [*now, *before]:
            if before.get(name) != now.get(name):
                raise InputError(
                    "--resume",
                    f"the interrupted recording has {name} {before.get(name)}, this one {now.get(name)}",
                    f"use the same, or remove {self.folder}",
                )

    def write(self, number: int, batch: Trace) -> None:
        """Keep a finished batch."""
        with self._saying_what_disks_say():
            write_trace(batch, self._part(number))
        self.done.add(number)

    def join(self, count: int) -> None:
        """Write the output from ``count`` batches in row groups of one size, and remove them."""
        batches = (chunk for number in range(count) for chunk in self._read(number))
        with self._saying_what_disks_say(), TraceWriter(self.output) as writer:
            for chunk in gathered(batches, GROUP_BYTES):
                writer.append(chunk)
        shutil.rmtree(self.folder)

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:06d}.parquet"

    def _read(self, number: int) -> Iterator[Trace]:
        try:
            yield from read_chunks(self._part(number))
        except InputError as fault:
            raise InputError(fault.where, fault.what, "remove it and continue with --resume") from fault

    @contextmanager
    def _saying_what_disks_say(self) -> Iterator[None]:
        """Turn a full or failing disk into a line that says how to go on."""
        try:
            yield
        except OSError as fault:
            said = os.strerror(fault.errno) if fault.errno else str(fault)
            raise InputError(
                str(self.output), f"cannot be written: {said}", "make room, then continue with --resume"
            ) from fault
