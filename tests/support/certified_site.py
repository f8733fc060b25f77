"""A web site that serves only who shows a certificate.

`python -m tests.support.certified_site ADDRESS PORT FOLDER` serves with FOLDER's server.pem, server.key and
authority.pem, and prints the site's origin. PORT may be 0, for any.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.certificates import Authority

PAGE = b"<!doctype html><title>for the certified</title>"


class Handler(BaseHTTPRequestHandler):
    """One page."""

    def do_GET(self) -> None:
        """Serve it."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def server(address: str, port: int, folder: Path) -> ThreadingHTTPServer:
    """Make the server, which is not serving yet."""
    made = ThreadingHTTPServer((address, port), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "authority.pem")
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    made.socket = context.wrap_socket(made.socket, server_side=True, do_handshake_on_connect=False)
    return made


@contextmanager
def serve(authority: Authority) -> Iterator[str]:
    """Serve on loopback from a process of its own, which no test delays; yield the site's origin."""
    authority.issue()
    command = [sys.executable, "-m", __name__, "127.0.0.1", "0", str(authority.file.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.kill()


if __name__ == "__main__":
    own_address, own_port, own_folder = sys.argv[1:]
    with server(own_address, int(own_port), Path(own_folder)) as site:
        print(f"https://{own_address}:{site.server_port}", flush=True)
        site.serve_forever()
