"""A relay ends when either side does, whatever the other was doing then."""

from __future__ import annotations

import struct
from contextlib import suppress

import gevent
import pytest
from gevent import socket

from proxy.frames import close_frame
from proxy.relay import WORD_TIMEOUT_S, Relay
from tests.support.frames import frame

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset
PIECE = bytes(65536)  # empty frames, none of them a Close


def connected() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection."""
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
    running.join(30)
    assert running.ready()
    client_side.close()


LOST = "worker chromium-00 crashed"
MASKED_PING = bytes([0x89, 0x80, 0, 0, 0, 0])


class Session:
    """A relay between two ends that the test holds."""

    def __init__(self, word_timeout_s: float = WORD_TIMEOUT_S) -> None:
        (self.client, self._client_side), (self.worker, worker_side) = connected(), connected()
        for end in (self.client, self.worker):
            end.settimeout(30)
        self.relay = Relay(self._client_side, worker_side, b"", b"", word_timeout_s)
        self._running = gevent.spawn(self.relay.run, LOST)
        self.client.sendall(MASKED_PING)
        assert self.worker.recv(100) == MASKED_PING, "the relay runs"

    def last_words(self) -> bytes:
        """Return what the client reads until its connection ends."""
        self._running.get(timeout=30)
        finishing = gevent.spawn(self.relay.finish)
        words = b"".join(iter(lambda: self.client.recv(65536), b""))
        self.client.close()
        finishing.get(timeout=30)
        return words


def test_the_workers_reason_wins_over_the_close_frame_of_its_driver() -> None:
    session = Session()
    session.worker.sendall(frame(0x1, b"the last message") + close_frame(1001, "Browser closed"))
    session.worker.shutdown(socket.SHUT_WR)
    gevent.spawn_later(0.2, session.relay.end, "the browser of worker chromium-00 crashed (signal 9)")
    reason = close_frame(1001, "the browser of worker chromium-00 crashed (signal 9)")
    assert session.last_words() == frame(0x1, b"the last message") + reason
    assert session.relay.end_reason == "the browser of worker chromium-00 crashed (signal 9)"


def test_the_workers_reason_wins_over_an_end_without_a_word() -> None:
    session = Session()
    session.worker.close()
    gevent.spawn_later(0.2, session.relay.end, "the driver of worker chromium-00 ended: no space left on device")
    assert session.last_words() == close_frame(1001, "the driver of worker chromium-00 ended: no space left on device")


def test_without_a_reason_from_the_worker_the_drivers_close_frame_is_passed_on() -> None:
    session = Session()
    session.worker.sendall(close_frame(1007, "Malformed message"))
    assert session.last_words() == close_frame(1007, "Malformed message")
    assert session.relay.end_reason == "closed by the driver: Malformed message"


def test_a_driver_that_knows_how_a_sessions_browser_ended_is_believed_at_once() -> None:
    crashed, closed = Session(), Session()
    crashed.worker.sendall(close_frame(4000, "the browser of this session crashed (signal 9)"))
    closed.worker.sendall(close_frame(1000, "closed"))
    assert crashed.last_words() == close_frame(1011, "the browser of this session crashed (signal 9)")
    assert closed.last_words() == close_frame(1000, "closed")
    assert closed.relay.end_reason == "closed"


def test_the_inner_door_leaves_what_a_driver_knows_to_the_sessions_own_proxy() -> None:
    session = Session(word_timeout_s=0)
    session.worker.sendall(close_frame(4000, "the browser of this session crashed (signal 9)"))
    assert session.last_words() == close_frame(4000, "the browser of this session crashed (signal 9)")
    assert session.relay.end_reason == "the browser of this session crashed (signal 9)"


def test_a_worker_that_is_lost_without_a_word_is_said_to_be() -> None:
    session = Session()
    session.worker.close()
    assert session.last_words() == close_frame(1011, LOST)


def test_a_client_is_told_that_its_message_was_too_large() -> None:
    session = Session()
    session.worker.sendall(close_frame(1009, ""))
    assert b"a message was larger than the 100 MiB" in session.last_words()
    assert session.relay.end_reason == "a message was larger than the 100 MiB that a driver takes"


def test_the_answer_to_a_clients_goodbye_is_not_held_back() -> None:
    session = Session()
    session.client.sendall(close_frame(1000, "bye", masked=True))
    assert session.worker.recv(100)
    session.worker.sendall(close_frame(1000, "bye"))
    assert session.client.recv(100) == close_frame(1000, "bye")


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_close_frame_that_comes_in_two_pieces_is_told_once(cut: int) -> None:
    session = Session()
    said = close_frame(1001, "Browser closed")
    session.worker.sendall(said[:cut])
    gevent.sleep(0.05)
    session.worker.sendall(said[cut:])
    session.worker.shutdown(socket.SHUT_WR)
    gevent.spawn_later(0.1, session.relay.end, "the browser ended")
    words = session.last_words()
    assert words == (said if cut == 1 else close_frame(1001, "the browser ended"))
