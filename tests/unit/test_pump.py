"""A pump moves every byte, in order, whatever its reader does."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import gevent
import pytest

from proxy.pump import BURST_MESSAGES, Pump

DEADLINE_S = 5


class Wire:
    """A pump between two socket pairs: what is written to `source` is to be read from `sink`."""

    def __init__(self) -> None:
        self.source, taken = socket.socketpair()
        given, self.sink = socket.socketpair()
        self.inner = (taken, given)
        for end in (self.source, taken, given, self.sink):
            end.setblocking(False)
        self.ends = 0
        self.fed = b""
        self.pump = Pump(taken, given, self._ended, self._feed)

    def _ended(self) -> None:
        self.ends += 1
        self.pump.close()

    def _feed(self, data: memoryview) -> None:
        self.fed += data

    def read(self, size: int) -> bytes:
        """Read so many bytes, while the loop runs."""
        got = b""
        with gevent.Timeout(DEADLINE_S):
            while len(got) < size:
                try:
                    got += self.sink.recv(size - len(got))
                except BlockingIOError:
                    gevent.sleep(0.001)
        return got


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    made = [Wire() for _ in range(BURST_MESSAGES + 5)]
    yield made
    for wire in made:
        if not wire.ends:
            wire.pump.close()
        for end in (wire.source, wire.sink, *wire.inner):
            end.close()


def test_more_messages_than_a_burst_holds_all_reach_their_own_sinks(wires: list[Wire]) -> None:
    for wire in wires:
        wire.pump.start()
    for turn in range(3):
        for number, wire in enumerate(wires):
            wire.source.send(b"%d of %d;" % (turn, number) * 20)
        for number, wire in enumerate(wires):
            expected = b"%d of %d;" % (turn, number) * 20
            assert wire.read(len(expected)) == expected


def test_a_reader_that_does_not_read_stops_the_writer_and_loses_nothing(wires: list[Wire]) -> None:
    wire = wires[0]
    wire.pump.start()
    sent = 0
    stuck = False
    while not stuck:
        block = bytes([sent // 1000 % 251]) * 1000
        try:
            sent += wire.source.send(block)
        except BlockingIOError:
            before = wire.pump.bytes_moved
            gevent.sleep(0.01)
            stuck = wire.pump.bytes_moved == before
    held = len(wire.pump.rest)
    assert 0 < held <= 512 * 1024
    received = wire.read(sent)
    assert received == wire.fed
    assert not wire.pump.rest


def test_an_end_is_told_after_the_last_byte_has_been_sent(wires: list[Wire]) -> None:
    wire = wires[0]
    wire.pump.start()
    wire.source.send(b"last words")
    wire.source.close()
    assert wire.read(10) == b"last words"
    with gevent.Timeout(DEADLINE_S):
        while not wire.ends:
            gevent.sleep(0.001)
    assert wire.ends == 1


def test_a_pump_that_is_closed_between_reading_and_sending_gives_what_it_read(wires: list[Wire]) -> None:
    wire, other = wires[:2]
    wire.pump._move()  # nothing is there: nothing happens
    wire.source.send(b"not sent")
    other.source.send(b"sent")
    wire.pump._move()
    other.pump._move()
    wire.pump.close()
    wire.ends = 1
    assert wire.pump.rest == b"not sent" == wire.fed
    assert other.read(4) == b"sent"
    with pytest.raises(BlockingIOError):
        wire.sink.recv(100)
