"""How TCP connections are kept: no delay for small messages, and a peer that vanished is noticed."""

from __future__ import annotations

import socket
from contextlib import suppress

KEEPALIVE_IDLE_S = 30
KEEPALIVE_INTERVAL_S = 10
KEEPALIVE_PROBES = 3
UNACKNOWLEDGED_MS = 60_000


def cut(connection: socket.socket) -> None:
    """End a connection both ways at once, from whatever greenlet and over TLS too: its reader finds the end."""
    with suppress(OSError):  # it has ended already
        getattr(connection, "_sock", connection).shutdown(socket.SHUT_RDWR)


def tune(connection: socket.socket) -> None:
    """Set a connection's options: tcp(7). A peer without a sign of life for about a minute is gone."""
    tcp = socket.IPPROTO_TCP
    connection.setsockopt(tcp, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(tcp, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    connection.setsockopt(tcp, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    connection.setsockopt(tcp, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    connection.setsockopt(tcp, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
