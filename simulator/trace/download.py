"""One file over HTTP, for pooch: goes on where it was cut, and never takes more than was promised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.trace.catalogue import File

CONNECT_S = 10.0
STALL_S = 30.0
BLOCK = 64 * 1024  # what a cut connection loses at most


@dataclass(frozen=True, slots=True)
class Download:
    """A downloader of pooch: called with an address and a temporary file, which pooch then verifies.

    Bytes collect in ``target`` + ``.partial``, which outlives a failure; ``advanced`` hears of them.
    A file without a known hash starts over instead: nothing would notice halves of two versions.
    Errors: InputError (no connection, no such file, cut, stalled, too large, no space).
    """

    file: File
    target: Path
    advanced: Callable[[int], None]

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Fill ``output_file`` with what is at ``url``."""
        import requests

        partial = self.target.with_name(f"{self.target.name}.partial")
        have = partial.stat().st_size if self.file.sha256 and partial.exists() else 0
        have = have if have <= self.file.bytes else 0
        try:
            if have < self.file.bytes:
                have = self._receive(url, partial, have)
        except (requests.RequestException, ValueError) as error:  # ValueError: led to what is no address
            raise self._failed(url, _reason(error)) from error
        except OSError as error:
            hint = "mend that and try again: it goes on where it stopped"
            raise InputError(str(partial), error.strerror or str(error), hint) from error
        if have > self.file.bytes:
            partial.unlink()
            raise InputError(url, f"larger than the {self.file.bytes:,} bytes of the catalogue", "not taken")
        if have < self.file.bytes:
            raise self._failed(url, f"{have:,} of {self.file.bytes:,} bytes came")
        partial.replace(output_file)

    def _receive(self, url: str, partial: Path, have: int) -> int:
        """Append what is missing to ``partial``; return its size, which is too large if that is."""
        import requests

        # Identity: a range of a compressed answer is no range of the file.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_S, STALL_S)) as answer:
            goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if answer.status_code == requests.codes.ok:  # all of it: also of a server that knows no ranges
                have = 0
            elif not (have and answer.status_code == requests.codes.partial_content and goes_on):
                raise self._failed(url, f"the server says {answer.status_code} {answer.reason}")
            self.advanced(have)
            with partial.open("ab" if have else "wb") as out:
                for block in answer.iter_content(BLOCK):
                    have += len(block)
                    if have > self.file.bytes:
                        break
                    out.write(block)
                    self.advanced(len(block))
        return have

    def _failed(self, where: str, what: str) -> InputError:
        return InputError(where, what, f"try again, or put the file at {self.target} by hand and try again")


def _reason(error: Any) -> str:
    """Say in words what a failure of requests means; its own text is a stack of internals."""
    from requests import exceptions

    reasons = {
        exceptions.SSLError: "its certificate cannot be verified",
        exceptions.ConnectTimeout: f"no answer within {CONNECT_S:.0f} s",
        exceptions.ReadTimeout: f"no answer within {STALL_S:.0f} s",
        exceptions.InvalidSchema: "it leads to an address that is neither http nor https",
        exceptions.TooManyRedirects: "it leads from one address to another without end",
        exceptions.ConnectionError: "cannot be reached, or the connection was lost",
        exceptions.ChunkedEncodingError: "the connection was cut",
    }
    return next(
        (text for kind, text in reasons.items() if isinstance(error, kind)), "it leads to what is no address"
    )
