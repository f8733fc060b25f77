"""A relay ends when either side does, whatever the other was doing then."""

from __future__ import annotations

import struct
from contextlib import suppress

import gevent
from gevent import socket

from proxy.relay import Relay

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset
PIECE = bytes(65536)  # empty frames, none of them a Close


def connected() -> tuple[socket.socket, socket.socket]:
    """Give both ends of a TCP connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def fill(end: socket.socket) -> None:
    """Send until the other side and all buffers take no more."""
    end.settimeout(0.2)
    with suppress(TimeoutError):
        while True:
            end.sendall(PIECE)


def reset(end: socket.socket) -> None:
    """End a connection with a reset."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    end.close()


def test_a_session_ends_whose_sides_are_both_reset_while_neither_reads() -> None:
    (client, client_side), (worker, worker_side) = connected(), connected()
    relay = Relay(client_side, worker_side, b"", b"")
    running = gevent.spawn(relay.run, "worker chromium-00 crashed")
    fill(client)
    fill(worker)
    reset(client)
    reset(worker)
    running.join(10)
    assert running.ready()
    client_side.close()
