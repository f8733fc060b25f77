"""What is outside of an appliance's machine: web pages on every address, and a server of names.

`outside.py ADDRESS`: every name leads to that address.
"""

from __future__ import annotations

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Pages(BaseHTTPRequestHandler):
    """One page, whatever is asked for."""

    def do_GET(self) -> None:
        """Serve it."""
        body = b"<!doctype html><title>outside</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Listens on all addresses, of both kinds."""

    address_family = socket.AF_INET6


def answer(query: bytes, address: str) -> bytes:
    """Answer a query of names (RFC 1035, section 4) by an address, if it asks for one of IPv4."""
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    asks_for_ipv4 = question[-4:-2] == b"\0\1"
    header = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if asks_for_ipv4 else b"\0\0") + b"\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4" + socket.inet_aton(address)
    return header + question + (record if asks_for_ipv4 else b"")


def main() -> None:
    """Serve until killed."""
    pages = Server(("::", 80), Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
        names.bind(("0.0.0.0", 53))
        print("ready", flush=True)
        while True:
            query, asker = names.recvfrom(4096)
            names.sendto(answer(query, sys.argv[1]), asker)


if __name__ == "__main__":
    main()
