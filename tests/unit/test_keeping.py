"""The connection that holds a session's browser: what is said on it, and why it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator

import gevent
import gevent.socket
import pytest

from appliance.request_errors import SessionUnreachable
from proxy.dial import Connection
from proxy.frames import close_frame
from proxy.handshake import Answer
from proxy.keeping import Holder
from proxy.limits import timed
from proxy.relay import NORMAL, WHOLE_TRUTH

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nKept: yes\r\n\r\n"


class Held:
    """A holder, the driver's side of it, and what it has told."""

    def __init__(self, rest: bytes = b"") -> None:
        self.driver, ours = gevent.socket.socketpair()
        self.notes: list[bool] = []
        self.told: list[str] = []
        self.holder = Holder(Connection(ours, Answer(101, HEAD, rest)), "worker w crashed", "the driver")
        self.holder.on_change(self.notes.append)
        self.holder.on_end(lambda reason, _: self.told.append(reason))

    def say(self, **said: object) -> None:
        self.driver.sendall(text(**said))


def text(**said: object) -> bytes:
    payload = json.dumps(said).encode()
    return bytes([0x81, len(payload)]) + payload


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.driver.close()


def test_it_notes_each_change_and_counts_the_bytes() -> None:
    held = Held(text(kept=False, bytes=0))
    with held.holder.followed():
        held.say(kept=True, bytes=700)
        held.say(kept=False, bytes=0)
        held.say(kept=True, bytes=50)
        held.driver.sendall(close_frame(NORMAL, "no client came back within 1 s"))
        held.holder.wait()
    assert held.notes == [False, True, False, True]
    assert held.holder.bytes_relayed == 750
    assert held.holder.end_reason == "no client came back within 1 s"
    assert held.told == []


def test_the_browsers_end_is_believed(held: Held) -> None:
    with held.holder.followed():
        held.driver.sendall(close_frame(WHOLE_TRUTH, "the browser of this session crashed (signal 9)"))
        held.holder.wait()
    assert held.holder.end_reason == "the browser of this session crashed (signal 9)"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "worker w crashed"),
        (close_frame(1001, "appliance a is shutting down"), "closed by the driver: appliance a"),
    ],
)
def test_a_drivers_end_waits_for_the_workers_word(said: bytes, reason: str, held: Held) -> None:
    with held.holder.followed():
        held.driver.sendall(said)
        held.driver.close()
        held.holder.wait()
    assert held.holder.end_reason.startswith(reason)


def test_the_workers_word_is_the_reason(held: Held) -> None:
    with held.holder.followed():
        held.driver.close()
        gevent.sleep(0)
        held.holder.end("the driver of worker w ended: signal 9")
        held.holder.wait()
    assert held.holder.end_reason == "the driver of worker w ended: signal 9"


def test_an_end_from_here_is_told_to_the_driver_and_the_client(held: Held) -> None:
    with held.holder.followed():
        held.holder.end("session closed by operator")
        held.holder.end("a later reason")
        held.holder.wait()
    assert held.told == ["session closed by operator"]
    assert held.holder.end_reason == "session closed by operator"
    assert held.driver.recv(100)[:1] == b"\x88"


def test_a_session_has_a_limit(held: Held) -> None:
    with held.holder.followed(), timed(held.holder.end, 0, 0.05):
        held.holder.wait()
    assert held.holder.end_reason == "session limit of 0.05 s reached"


def test_the_limit_that_its_url_sets_comes_first(held: Held) -> None:
    with held.holder.followed(), timed(held.holder.end, 0.05, 60):
        held.holder.wait()
    assert held.holder.end_reason == "session limit of 0.05 s reached, as its URL says"


def test_a_driver_that_knows_of_no_kept_sessions_is_refused() -> None:
    ours, _ = gevent.socket.socketpair()
    with pytest.raises(SessionUnreachable, match="an earlier version"):
        Holder(Connection(ours, Answer(101, b"HTTP/1.1 101\r\n\r\n", b"")), "", "")
