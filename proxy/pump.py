"""A pump: moves bytes from one socket to another until the first ends.

Rules
1. No payload is looked at, no frame is rebuilt. Only `feed` may hold something back: the last Close frame.
2. A pump is a callback on gevent's loop, not a greenlet: an idle session holds no buffer, and a message
   costs no switch.
3. What is ready in one iteration of the loop is first read and then sent, in one burst (`Burst`). Most of a
   message's cost is the kernel waking its reader; a reader of several messages in a row wakes up once.
4. All pumps read into one scratch buffer, each behind the other's bytes until the burst is sent. The
   burst is sent before anything else may run; only what a sink does not take at once is copied.
5. Backpressure is the kernel's: while a rest waits for its reader, its writer is not read.
6. Only reading finds an end. A pump whose sink is gone reads on and drops what it reads, until its source ends,
   too. The other pump reads from that sink the rest, perhaps a Close frame, and then its end.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from typing import Any

import gevent

from proxy.tls import TlsSocket, Transport

READ, WRITE = 1, 2  # libev's EV_READ and EV_WRITE
# libev calls all watchers of a higher priority first: all pumps, then the burst, then the greenlets' own.
READ_PRIORITY, SEND_PRIORITY = 2, 1

BURST_MESSAGES = 32  # more would let the first of them wait
LARGE_BYTES = 32 * 1024  # so much is worth a wake-up of its own
SCRATCH_BYTES, ROOM_BYTES = 512 * 1024, 256 * 1024  # the buffer, and the room that a read needs


class Burst:
    """What was read in this iteration of the loop, to be sent at its end."""

    __slots__ = ("_check", "unsent", "used", "view")

    def __init__(self, loop: Any) -> None:
        """Set gevent's loop, which calls `send` when all pumps have read."""
        self.view = memoryview(bytearray(SCRATCH_BYTES))
        self.used = 0
        self.unsent: list[tuple[Pump, memoryview]] = []
        self._check = loop.check(ref=False, priority=SEND_PRIORITY)
        self._check.start(self.send)

    def send(self) -> None:
        """Send everything, in the order in which it was read."""
        if self.unsent:
            unsent, self.unsent, self.used = self.unsent, [], 0
            for pump, data in unsent:
                pump.send(data)

    def withdraw(self, pump: Pump) -> bytes:
        """Return what a pump has read and, being closed, will not send."""
        taken = b"".join(data for other, data in self.unsent if other is pump)
        self.unsent = [(other, data) for other, data in self.unsent if other is not pump]
        return taken


_burst_of: Callable[[Any], Burst] = functools.cache(Burst)  # one for each loop


class Pump:
    """Moves bytes in one direction, from a non-blocking socket to another."""

    __slots__ = ("_burst", "_ended", "_feed", "_reader", "_recv_into", "_send", "_writer", "bytes_moved", "rest")

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        ended: Callable[[], None],
        feed: Callable[[memoryview], int | None] | None = None,
    ) -> None:
        """Set the sockets, what to call when the source has ended, and what else sees the bytes.

        `feed` returns how many of the bytes may pass, or None for all of them.
        """
        loop = gevent.get_hub().loop
        self._burst = _burst_of(loop)
        self._recv_into = _raw(source).recv_into
        self._send: Callable[[bytes | memoryview], int] = _raw(sink).send
        self._reader = loop.io(source.fileno(), READ, priority=READ_PRIORITY)
        self._writer = loop.io(sink.fileno(), WRITE)
        self._ended, self._feed = ended, feed
        self.rest = b""
        self.bytes_moved = 0

    def start(self) -> None:
        """Begin to move."""
        self._reader.start(self._move)

    def insert(self, frame: bytes) -> None:
        """Send a frame of our own after what has passed, unless something still waits for the sink.

        The caller follows the frames, and knows that one may stand here.
        """
        self._burst.send()
        if not self.rest:
            self.send(memoryview(frame))

    def close(self) -> None:
        """Stop for good; `rest` is what was read and not yet taken."""
        self.rest += self._burst.withdraw(self)
        for watcher in (self._reader, self._writer):
            watcher.stop()
            watcher.close()

    def _move(self) -> None:
        burst = self._burst
        used = burst.used
        try:
            size = self._recv_into(burst.view[used:])
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._reader.stop()  # an end stays readable: this would be called again at once
            self._ended()
            return
        data = burst.view[used : used + size]
        if self._feed and (passing := self._feed(data)) is not None:
            data, size = data[:passing], passing
        self.bytes_moved += size
        burst.used = used + size
        burst.unsent.append((self, data))
        if size >= LARGE_BYTES or burst.used > SCRATCH_BYTES - ROOM_BYTES or len(burst.unsent) >= BURST_MESSAGES:
            burst.send()

    def send(self, data: memoryview) -> None:
        """Send what was read; a rest waits until the sink takes it, and nothing more is read until then."""
        try:
            sent = self._send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._send, sent = len, len(data)  # rule 6
        if sent < len(data):
            self.rest = bytes(data[sent:])
            self._reader.stop()
            self._writer.start(self._flush)

    def _flush(self) -> None:
        try:
            self.rest = self.rest[self._send(self.rest) :]
        except BlockingIOError:
            return
        except OSError:
            self._send, self.rest = len, b""  # rule 6
        if not self.rest:
            self._writer.stop()
            self._reader.start(self._move)


def _raw(sock: socket.socket) -> socket.socket | Transport:
    """Return what moves bytes without blocking: the plain socket below gevent's, or a transport over TLS."""
    if isinstance(sock, TlsSocket):
        return sock.without_blocking()
    raw: socket.socket = getattr(sock, "_sock", sock)
    return raw
