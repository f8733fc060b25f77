"""What one end of a connection does, step by step; the same steps serve clients and workers."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass

import gevent

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset, whatever is unsent
HEAD_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes, in pieces that end at the given places, each sent by itself."""

    data: bytes
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ReadHead:
    """Read up to the end of the other side's headers, or its end."""

    within_s: float = 5.0


@dataclass(frozen=True, slots=True)
class ReadToEnd:
    """Read until the other side ends, or for so many seconds."""

    within_s: float


@dataclass(frozen=True, slots=True)
class Echo:
    """Send back all that comes, until the other side ends."""

    within_s: float = 30.0


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Send no more, but go on reading."""


@dataclass(frozen=True, slots=True)
class Reset:
    """End the connection with a reset."""


Step = Send | Pause | ReadHead | ReadToEnd | Echo | HalfClose | Reset


def play(connection: socket.socket, steps: Iterable[Step]) -> bytes:
    """Take the steps and close; returns the first bytes that were read. An end by the other side ends it early."""
    heard = bytearray()
    with connection:
        try:
            for step in steps:
                _take(step, connection, heard)
        except (OSError, gevent.Timeout):
            pass  # the proxy ended it, or did not read for too long: both are its right
    return bytes(heard[:200])


def _take(step: Step, connection: socket.socket, heard: bytearray) -> None:
    match step:
        case Send(data, cuts):
            _send(connection, data, cuts)
        case Pause(seconds):
            gevent.sleep(seconds)
        case ReadHead(within_s):
            _read(connection, heard, within_s, b"\r\n\r\n")
        case ReadToEnd(within_s):
            _read(connection, heard, within_s, None)
        case Echo(within_s):
            connection.settimeout(within_s)
            while data := connection.recv(65536):
                connection.sendall(data)
        case HalfClose():
            connection.shutdown(socket.SHUT_WR)
        case Reset():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()


def _send(connection: socket.socket, data: bytes, cuts: tuple[int, ...]) -> None:
    connection.settimeout(2.0)
    start = 0
    for end in (*cuts, len(data)):
        connection.sendall(data[start:end])
        start = end
        if end < len(data):
            gevent.sleep(0)  # TCP_NODELAY is set: the pieces leave one by one


def _read(connection: socket.socket, heard: bytearray, within_s: float, until: bytes | None) -> None:
    deadline = time.monotonic() + within_s
    size = 0
    while (until is None or until not in heard) and (left_s := deadline - time.monotonic()) > 0:
        connection.settimeout(left_s)
        try:
            data = connection.recv(65536)
        except TimeoutError:
            return
        size += len(data)
        if not data:
            return
        if len(heard) < HEAD_MAX_BYTES:
            heard += data
