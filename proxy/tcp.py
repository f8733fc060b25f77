"""How TCP connections are kept: no delay for small messages, and a peer that vanished is noticed."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

import gevent

from appliance import logs

log = logs.get_logger()

FAREWELL_TIMEOUT_S = 2.0
_DRAIN_BYTES = 64 * 1024  # of a peer that is in the midst of a large message
KEEPALIVE_IDLE_S = 30
KEEPALIVE_INTERVAL_S = 10
KEEPALIVE_PROBES = 3
UNREACHABLE_S = 60

# linux/tcp.h, struct tcp_info: tcpi_retransmits and tcpi_probes are its bytes 2 and 3, tcpi_last_ack_recv (in
# milliseconds) is its twelfth word.
_TCP_INFO = struct.Struct("=2xBB52xI")


def cut(connection: socket.socket) -> None:
    """End a connection both ways at once, from whatever greenlet and over TLS too: its reader finds the end."""
    with suppress(OSError):  # it has ended already
        getattr(connection, "_sock", connection).shutdown(socket.SHUT_RDWR)


def say_goodbye(connection: socket.socket, last_words: bytes = b"") -> None:
    """Send the last words, end our side, and give the peer FAREWELL_TIMEOUT_S to end its own.

    Closing with bytes unread resets the connection, and a reset may overtake what was sent before it.
    """
    try:
        with gevent.Timeout(FAREWELL_TIMEOUT_S, _TooSlow):
            connection.sendall(last_words)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(_DRAIN_BYTES):
                pass
    except (OSError, _TooSlow) as gone:
        log.debug("client.gone", error=str(gone))


class _TooSlow(Exception):
    """The peer does not take its last bytes, or does not end its side."""


def tune(connection: socket.socket) -> None:
    """Set a connection's options: tcp(7). An idle peer without a sign of life for about a minute is gone.

    TCP_USER_TIMEOUT would end busy connections, too, but also that of a peer that only does not read, such as a client
    stopped at a breakpoint. See `is_unreachable`.
    """
    if connection.family == socket.AF_UNIX:
        return
    tcp = socket.IPPROTO_TCP
    connection.setsockopt(tcp, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(tcp, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    connection.setsockopt(tcp, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    connection.setsockopt(tcp, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def is_unreachable(connection: socket.socket) -> bool:
    """Return whether the peer's system has acknowledged nothing for UNREACHABLE_S, although it was asked repeatedly."""
    if connection.family == socket.AF_UNIX:
        return False
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    retransmits, probes, silent_ms = _TCP_INFO.unpack(info)
    return bool(max(retransmits, probes) > 1 and silent_ms >= UNREACHABLE_S * 1000)
