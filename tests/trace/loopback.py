"""A web server on the loopback that a test can make misbehave; it knows nothing of moesim."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, how it fails, and what was asked for (path and Range of each request)."""

    files: dict[str, bytes]
    fault: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answers GET with ranges (RFC 9110, section 14), or with the site's fault."""

    site: Site

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        site, asked = self.site, self.headers.get("Range")
        site.asked.append((self.path, asked))
        fault, _, detail = site.fault.partition(" ")
        if fault == "status":
            self.send_error(int(detail))
        elif fault == "redirect" and not self.path.endswith("/moved"):
            self.send_response(302)
            self.send_header("Location", detail)
            self.end_headers()
        elif self.path.removesuffix("/moved") not in site.files:
            self.send_error(404)
        else:
            self.answer(site.files[self.path.removesuffix("/moved")], asked, fault)

    def answer(self, content: bytes, asked: str | None, fault: str) -> None:
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and fault != "no-range" else 0
        said = start + 1 if fault == "other-range" else start
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {said}-{len(content) - 1}/{len(content)}")
        if fault != "endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = body[: len(body) // 2]
        try:
            if fault == "cut":
                self.wfile.write(half)
            elif fault == "stall":
                self.wfile.write(half)
                self.wfile.flush()
                time.sleep(3)
            elif fault == "slow":
                for at in range(0, len(body), 2048):
                    self.wfile.write(body[at : at + 2048])
                    time.sleep(0.01)
            elif fault == "endless":
                while True:
                    self.wfile.write(content)
            else:
                self.wfile.write(body)
        except OSError:  # the client went away
            self.close_connection = True


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Site]:
    """Serve ``files`` by path while the block runs."""
    site = Site(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site}))
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
