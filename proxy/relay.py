"""The relay: moves bytes between a client and a worker until either side ends.

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
from gevent.event import Event

from appliance import logs
from proxy.frames import FrameFollower, close_frame

log = logs.get_logger()

READ, WRITE = 1, 2  # libev's EV_READ and EV_WRITE
FAREWELL_TIMEOUT_S = 2.0
GOING_AWAY, INTERNAL_ERROR = 1001, 1011  # RFC 6455, section 7.4.1

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


class Relay:
    """One session's bytes, both ways.

    `run` is the session: it ends when either side does, when the client says goodbye, or when `end` is
    called. `finish` is what follows when the slot is free already: the last bytes, the Close frame.
    """

    def __init__(self, client: socket.socket, worker: socket.socket, from_client: bytes, from_worker: bytes) -> None:
        """Take both connected sockets and the bytes that came with the handshakes.

        Those of the client are sent to the worker; those of the worker the client has already.
        """
        self._client, self._worker = client, worker
        self._from_client = from_client
        self._said_by_client, self._said_by_worker = FrameFollower(), FrameFollower()
        self._said_by_client.feed(from_client)
        self._said_by_worker.feed(from_worker)
        self._over, self._either_ended = Event(), Event()
        self._worker_gone = self._closed = False
        self._to_worker = Pump(client, worker, self._client_ended, self._hear_client)
        self._to_client = Pump(worker, client, self._worker_ended, self._said_by_worker.feed)
        self._closing: tuple[int, str] | None = None
        self.end_reason = ""

    @property
    def bytes_relayed(self) -> int:
        """Bytes moved so far, both ways together."""
        return self._to_worker.bytes_moved + self._to_client.bytes_moved

    def run(self, slot: str) -> None:
        """Relay until the session is over; `slot` names the worker in a crash's reason."""
        try:
            self._worker.sendall(self._from_client)
            self._to_worker.start()
            self._to_client.start()
            self._over.wait()
        except OSError:
            self._worker_ended()
        finally:
            if not self._is_goodbye:
                self.close()
        if self._worker_gone and not self._said_by_worker.close_seen and not self._is_goodbye:
            self.end_reason = f"worker {slot} crashed"
            self._closing = INTERNAL_ERROR, self.end_reason

    def end(self, reason: str) -> None:
        """End the session for a reason of ours, which the client is told if no frame is left unfinished."""
        if not self._over.is_set():
            self.end_reason = reason
            self._closing = GOING_AWAY, reason
            self._over.set()

    def finish(self) -> None:
        """Give the client what is left for it, the Close frame last, and wait a moment for its own end.

        The slot is free by now, so a client that does not read delays nobody.
        """
        if self._is_goodbye:
            self._either_ended.wait(FAREWELL_TIMEOUT_S)
        self.close()
        last_words = self._to_client.rest
        if self._closing and self._said_by_worker.at_boundary and not self._said_by_worker.close_seen:
            last_words += close_frame(*self._closing)
        try:
            with gevent.Timeout(FAREWELL_TIMEOUT_S, _TooSlow):
                self._client.sendall(last_words)
                self._client.shutdown(socket.SHUT_WR)
                # Closing a socket with unread bytes resets it, and a reset may overtake the Close frame.
                while self._client.recv(4096):
                    pass
        except (OSError, _TooSlow) as gone:
            log.debug("client.gone", error=str(gone))

    @property
    def _is_goodbye(self) -> bool:
        """Whether the client has sent its Close frame, which the worker is still to answer."""
        return self._said_by_client.close_seen

    def close(self) -> None:
        """Move no more bytes, and let the worker go; the client's socket is the handler's."""
        if not self._closed:
            self._closed = True
            self._to_worker.close()
            self._to_client.close()
            self._worker.close()

    def _hear_client(self, data: memoryview) -> None:
        self._said_by_client.feed(data)
        if self._is_goodbye:
            self._be_over("closed")

    def _client_ended(self) -> None:
        self._either_ended.set()
        self._be_over("client disconnected")

    def _worker_ended(self) -> None:
        self._worker_gone = True
        self._either_ended.set()
        self._be_over("closed")

    def _be_over(self, reason: str) -> None:
        self.end_reason = self.end_reason or reason
        self._over.set()


class _TooSlow(Exception):
    """The client does not take its last bytes."""


def _raw(sock: socket.socket) -> socket.socket:
    """Give the plain non-blocking socket below one of gevent's."""
    raw: socket.socket = getattr(sock, "_sock", sock)
    return raw
