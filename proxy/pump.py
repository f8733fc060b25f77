"""A pump: moves bytes from one socket to another until the first ends.

Rules
 1. No payload is looked at, no frame is rebuilt, nothing is held back.
 2. A pump is a callback on gevent's loop, not a greenlet: a message costs one wake-up, one read and
    one write, and an idle session holds no buffer.
 3. All pumps read into one scratch buffer. That is safe because a callback runs to its end before
    the next begins; only what the other side does not take at once is copied.
 4. Backpressure is the kernel's: while a rest waits for its reader, its writer is not read.
 5. Only reading finds an end. A pump whose sink is gone stops; the other pump reads from that sink
    what it still had to say, a Close frame perhaps, and then its end.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import gevent

from proxy.tls import TlsSocket, Transport

READ, WRITE = 1, 2  # libev's EV_READ and EV_WRITE

_SCRATCH = bytearray(256 * 1024)
_SCRATCH_VIEW = memoryview(_SCRATCH)


class Pump:
    """Moves bytes in one direction, from a non-blocking socket to another."""

    __slots__ = ("_ended", "_feed", "_reader", "_recv_into", "_send", "_writer", "bytes_moved", "rest")

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        ended: Callable[[], None],
        feed: Callable[[memoryview], None] | None = None,
    ) -> None:
        """Take the sockets, what to call when the source has ended, and who else sees what passes."""
        loop = gevent.get_hub().loop
        self._recv_into, self._send = _raw(source).recv_into, _raw(sink).send
        self._reader, self._writer = loop.io(source.fileno(), READ), loop.io(sink.fileno(), WRITE)
        self._ended, self._feed = ended, feed
        self.rest = b""
        self.bytes_moved = 0

    def start(self) -> None:
        """Begin to move."""
        self._reader.start(self._move)

    def close(self) -> None:
        """Stop for good; `rest` is what was read and not yet taken."""
        for watcher in (self._reader, self._writer):
            watcher.stop()
            watcher.close()

    def _move(self) -> None:
        try:
            size = self._recv_into(_SCRATCH)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._ended()
            return
        self.bytes_moved += size
        data = _SCRATCH_VIEW[:size]
        if self._feed:
            self._feed(data)
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._reader.stop()
            return
        if sent < size:
            self.rest = bytes(data[sent:])
            self._reader.stop()
            self._writer.start(self._flush)

    def _flush(self) -> None:
        try:
            self.rest = self.rest[self._send(self.rest) :]
        except BlockingIOError:
            return
        except OSError:
            self._writer.stop()
            return
        if not self.rest:
            self._writer.stop()
            self._reader.start(self._move)


def _raw(sock: socket.socket) -> socket.socket | Transport:
    """Give what moves bytes without blocking: the plain socket below one of gevent's, or a transport over TLS."""
    if isinstance(sock, TlsSocket):
        return sock.without_blocking()
    raw: socket.socket = getattr(sock, "_sock", sock)
    return raw
