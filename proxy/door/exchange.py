"""Sends and receives the inner door's messages on a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

from proxy.door.protocol import Seal
from proxy.tls import RECORD_BYTES

Found = TypeVar("Found")

HEAD_MAX_BYTES = 4096


class NothingSaid(EOFError):
    """The other side closed the connection before it said anything."""


def receive_message(connection: socket.socket, seal: Seal, label: str, received: bytes) -> tuple[bytes, bytes]:
    """Return a message's content and what came after it; raises Unproven, EOFError or OSError."""
    return receive(connection, lambda data: seal.open(label, data), received)  # which limits it


def receive(
    connection: socket.socket,
    understand: Callable[[bytes], Found | None],
    received: bytes = b"",
    most: int | None = None,
) -> Found:
    """Read until what came is understood; raises ValueError past `most` bytes, EOFError or OSError.

    There is always room for a whole record, so that over TLS nothing is kept back (rule 1 of proxy/tls.py).
    """
    while (found := understand(received)) is None:
        if most is not None and len(received) > most:
            raise ValueError("its answer is too long")
        if not (data := connection.recv(RECORD_BYTES)):
            raise EOFError("it closed the connection") if received else NothingSaid("it said nothing")
        received += data
    return found
