"""The watchdog and the relay over real sockets: pings, limits, and the last words to both sides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import socket

from appliance.settings.config import Settings
from proxy import tcp
from proxy.limits import Watchdog
from proxy.relay import Relay
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, frame, read_frame

MASK = b"\0\0\0\0"
OFF = {"ping_interval": 0, "ping_timeout": 0, "session_timeout": 0, "session_idle_timeout": 0}


class Sides:
    """A session that is relayed: its client's end, its worker's end, and the relay between them."""

    def __init__(self, **limits: float) -> None:
        """Relay from now on."""
        self.client, self._near = connected()
        self.worker, self._far = connected()
        self.relay = Relay(self._near, self._far, b"", b"")
        self.stood_still_s = 0.0
        self.watchdog = Watchdog(Settings(**{**OFF, **limits}), lambda: time.monotonic() + self.stood_still_s)
        self._rounds = gevent.spawn(self._make_rounds)
        self._session = gevent.spawn(self._serve)
        gevent.sleep(0)  # it has begun

    def _make_rounds(self) -> None:
        while True:
            self.watchdog.make_round()

    def _serve(self) -> None:
        with self.watchdog.watch(self.relay):
            self.relay.run("worker chromium-00 crashed")
        self.relay.finish()
        self._near.close()

    @property
    def is_over(self) -> bool:
        """Whether the session has ended."""
        return self._session.ready()

    def close(self) -> None:
        """Stop everything."""
        gevent.killall([self._rounds, self._session])
        for end in (self.client, self.worker, self._near, self._far):
            end.close()


def connected() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection with small buffers, on which no read waits for longer than a test may."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one = socket.create_connection(listener.getsockname(), timeout=30)
        other, _ = listener.accept()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    return one, other


def fill(sink: Any) -> int:
    """Send until nothing more is taken; returns how many bytes were."""
    filled = 0
    try:
        while True:
            filled += sink.send(bytes(4096))
    except BlockingIOError:
        return filled


@pytest.fixture
def relayed() -> Iterator[Callable[..., Sides]]:
    """Start sessions with limits, in seconds."""
    started: list[Sides] = []

    def start(**limits: float) -> Sides:
        started.append(Sides(**limits))
        return started[-1]

    yield start
    for sides in started:
        sides.close()


def answer_pings(end: socket.socket, until_s: float) -> list[Frame]:
    """Answer pings like a client, for so long; returns what came."""
    came: list[Frame] = []
    deadline = time.monotonic() + until_s
    while (left_s := deadline - time.monotonic()) > 0:
        end.settimeout(left_s)
        try:
            read = read_frame(end)
        except TimeoutError:
            break
        if read is None:
            break
        came.append(read)
        if read.opcode == PING:
            end.sendall(frame(PONG, read.payload, mask=MASK))
    end.settimeout(30)
    return came


def test_an_idle_client_is_pinged_and_its_pong_passes_to_the_worker(relayed: Any) -> None:
    sides = relayed(ping_interval=0.1)
    for _ in range(3):
        assert read_frame(sides.client) == Frame(PING, b"", is_masked=False)
        sides.client.sendall(frame(PONG, b"", mask=MASK))
        assert read_frame(sides.worker) == Frame(PONG, b"", is_masked=True)


def test_a_client_that_is_sent_something_is_not_pinged(relayed: Any) -> None:
    sides = relayed(ping_interval=1)
    for _ in range(30):
        sides.worker.sendall(frame(TEXT, b"event"))
        assert read_frame(sides.client) == Frame(TEXT, b"event", is_masked=False)
        gevent.sleep(0.05)


def test_a_ping_comes_between_the_fragments_of_a_message_and_never_within_a_frame(relayed: Any) -> None:
    sides = relayed(ping_interval=0.1)
    first, last = frame(BINARY, b"a" * 300, final=False), frame(CONTINUATION, b"b" * 300)
    sides.worker.sendall(first[:100])
    gevent.sleep(0.4)
    sides.worker.sendall(first[100:])
    assert read_frame(sides.client) == Frame(BINARY, b"a" * 300, is_masked=False)
    assert read_frame(sides.client) == Frame(PING, b"", is_masked=False)
    sides.worker.sendall(last)
    came = [read_frame(sides.client) for _ in range(2)]
    assert Frame(CONTINUATION, b"b" * 300, is_masked=False) in came


def test_a_client_that_answers_no_ping_has_vanished(relayed: Any) -> None:
    sides = relayed(ping_interval=0.1, ping_timeout=0.4)
    frames = iter(lambda: read_frame(sides.client), None)
    *pings, goodbye = frames
    assert {ping.opcode for ping in pings} == {PING}
    assert (goodbye.code, goodbye.reason) == (1001, "client stopped answering")
    assert sides.relay.end_reason == "client stopped answering"
    told = read_frame(sides.worker)
    assert told == Frame(CLOSE, goodbye.payload, is_masked=True)


def test_a_client_that_answers_pings_stays_however_long_it_says_nothing_else(relayed: Any) -> None:
    sides = relayed(ping_interval=0.1, ping_timeout=0.4)
    assert {each.opcode for each in answer_pings(sides.client, 1.2)} == {PING}
    assert not sides.is_over


def test_a_standstill_of_the_proxy_is_no_silence_of_its_clients(relayed: Any) -> None:
    sides = relayed(ping_interval=0.1, ping_timeout=0.4)
    assert read_frame(sides.client)
    sides.client.sendall(frame(PONG, b"", mask=MASK))
    sides.stood_still_s = 3600
    assert {each.opcode for each in answer_pings(sides.client, 0.5)} == {PING}
    assert not sides.is_over


def test_a_client_that_does_not_read_is_judged_by_what_it_says(relayed: Any) -> None:
    sides = relayed(ping_interval=0.1, ping_timeout=0.5)
    sender = gevent.spawn(sides.worker.sendall, frame(BINARY, bytes(10_000_000)))
    for _ in range(10):  # its window is full, and it speaks
        sides.client.sendall(frame(TEXT, b"alive", mask=MASK))
        gevent.sleep(0.1)
    assert not sides.is_over
    sides.relay._over.wait(30)
    assert sides.relay.end_reason == "client stopped answering"
    sender.kill()


def test_what_a_slow_reader_gets_is_whole_though_it_was_pinged_meanwhile(relayed: Any) -> None:
    sides = relayed(ping_interval=0.05)
    sender = gevent.spawn(sides.worker.sendall, frame(BINARY, b"x" * 2_000_000) + frame(TEXT, b"next"))
    gevent.sleep(0.5)
    came = [read_frame(sides.client) for _ in range(2)]
    came = [each for each in [*came, read_frame(sides.client)] if each and each.opcode != PING]
    assert came[0] == Frame(BINARY, b"x" * 2_000_000, is_masked=False)
    assert came[1] == Frame(TEXT, b"next", is_masked=False)
    sender.join()


def test_a_ping_that_is_taken_in_two_halves_over_tls_is_not_lost(relayed: Any) -> None:
    sides = relayed()
    left = fill(sides._near._sock)  # past the pump, so that nothing waits in it
    assert sides.relay.ping()
    while left:
        left -= len(sides.client.recv(min(left, 65536)))
    assert read_frame(sides.client) == Frame(PING, b"", is_masked=False)
    sides.worker.sendall(frame(TEXT, b"next"))
    assert read_frame(sides.client) == Frame(TEXT, b"next", is_masked=False)


def test_a_session_ends_at_its_limit_however_busy(relayed: Any) -> None:
    sides = relayed(session_timeout=0.5, session_idle_timeout=0.4)
    started = time.monotonic()
    while not sides.relay.end_reason:
        sides.client.sendall(frame(TEXT, b"busy", mask=MASK))
        gevent.sleep(0.02)
    assert sides.relay.end_reason == "session limit of 0.5 s reached"
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("speaker", ["client", "worker"])
def test_an_idle_session_ends_though_pinged_and_one_that_either_side_uses_does_not(speaker: str, relayed: Any) -> None:
    sides = relayed(ping_interval=0.05, session_idle_timeout=1)
    for _ in range(20):
        getattr(sides, speaker).sendall(frame(TEXT, b"busy", mask=MASK if speaker == "client" else b""))
        gevent.sleep(0.1)
    assert not sides.relay.end_reason
    came = answer_pings(sides.client, 30)
    assert PING in {each.opcode for each in came}
    assert came[-1].reason == "session was idle for 1 s"


def test_a_side_in_mid_frame_is_told_no_reason(relayed: Any) -> None:
    sides = relayed()
    sides.worker.sendall(frame(BINARY, b"x" * 300)[:100])
    sides.client.sendall(frame(BINARY, b"y" * 300, mask=MASK)[:100])
    assert len(sides.client.recv(100)) == 100
    assert len(sides.worker.recv(100)) == 100
    sides.relay.end("session closed by operator")
    assert sides.worker.recv(100) == b""
    assert sides.client.recv(100) == b""


@pytest.mark.parametrize(("said", "then"), [(300, [(1011, "worker chromium-00 crashed")]), (100, [])])
def test_a_crash_of_the_worker_is_told_at_a_boundary_only(said: int, then: list[Any], relayed: Any) -> None:
    sides = relayed()
    whole = frame(BINARY, b"x" * 300)
    sides.worker.sendall(whole if said == 300 else whole[:said])
    if said == 300:
        assert read_frame(sides.client) == Frame(BINARY, b"x" * 300, is_masked=False)
    else:
        assert len(sides.client.recv(300)) == said
    sides.worker.close()
    goodbye = [(each.code, each.reason) for each in iter(lambda: read_frame(sides.client), None)]
    assert goodbye == then
    assert sides.relay.end_reason == "worker chromium-00 crashed"


def test_close_codes_and_reasons_pass_both_ways_as_they_were_said(relayed: Any) -> None:
    sides = relayed()
    sides.worker.sendall(frame(CLOSE, (4001).to_bytes(2, "big") + b"so long"))
    said = read_frame(sides.client)
    assert said
    assert (said.code, said.reason) == (4001, "so long")
    answered = read_frame(sides.worker)
    assert answered
    assert (answered.code, answered.reason, answered.is_masked) == (4001, "so long", True)
    sides = relayed()
    sides.client.sendall(frame(CLOSE, (4002).to_bytes(2, "big") + b"thanks", mask=MASK))
    passed = read_frame(sides.worker)
    assert passed
    assert (passed.code, passed.reason, passed.is_masked) == (4002, "thanks", True)


def test_a_peer_that_is_there_and_does_not_read_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "UNREACHABLE_S", 0)
    one, other = connected()
    tcp.tune(other)
    other.settimeout(0.1)
    with pytest.raises(TimeoutError):
        other.sendall(bytes(100_000_000))
    gevent.sleep(1)  # by now its full window has been probed twice
    assert not tcp.is_unreachable(other)
    one.close()
    other.close()
