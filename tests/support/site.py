"""A web site for browsers under test: a page, cookies and storage, large files each way, and one without an end."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.zeros import zeros

LARGE = 52 * 1024 * 1024  # above 50 MB, Playwright sends a file in pieces

PAGE = """<!doctype html><title>A real page</title><h1>Hello</h1>
<a id=download href=/large.bin download>large.bin</a>
<input type=file onchange="fetch('/upload', {method: 'POST', body: this.files[0]})
  .then(answer => answer.text()).then(digest => document.title = digest)">
"""


def large_file() -> bytes:
    """Return 52 MiB that do not compress, the same in each run."""
    block = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256))
    return (block * (LARGE // len(block) + 1))[:LARGE]


class Handler(BaseHTTPRequestHandler):
    """Serves the page and the file, and digests what is uploaded."""

    protocol_version = "HTTP/1.1"
    content = large_file()

    def do_GET(self) -> None:
        """Serve the page or one of the files."""
        if self.path == "/large.bin":
            self._answer(self.content, "application/octet-stream")
        elif self.path == "/endless.bin":
            self._answer_for_ever()
        elif self.path.startswith("/zeros/"):
            _, _, encoding, mebibytes = self.path.split("/")
            self._answer_zeros(encoding, int(mebibytes))
        else:
            self._answer(PAGE.encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """Answer with the digest of what is sent."""
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            block = self.rfile.read(min(left, 1 << 20))
            digest.update(block)
            left -= len(block)
        self._answer(digest.hexdigest().encode(), "text/plain")

    def _answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer_zeros(self, encoding: str, mebibytes: int) -> None:
        """Send zeros until that is all, or nobody reads on."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Length", str(sum(map(len, zeros(encoding, mebibytes)))))
        self.end_headers()
        with suppress(OSError):
            for part in zeros(encoding, mebibytes):
                self.wfile.write(part)

    def _answer_for_ever(self) -> None:
        """Send about 10 MiB a second until the browser is gone."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(self.content[: 1 << 18])
                time.sleep(0.025)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serve(address: str = "127.0.0.1") -> Iterator[str]:
    """Serve the site on an address of this machine; yield its URL."""
    server = ThreadingHTTPServer((address, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{address}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":  # until its input ends
    with serve() as own_url:
        print(own_url, flush=True)
        sys.stdin.read()
