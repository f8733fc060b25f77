"""The watchdog of a proxy's sessions: pings, and the limits of how long a session may last, idle or silent.

One greenlet looks at all sessions, in rounds. Between two looks a session only counts its bytes, as it does anyway: a
message reads no clock and sets no timer, and an idle session costs one look per round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields

import gevent

from appliance.grid.session import EndRelay
from appliance.grid.story import EndedBy
from appliance.settings.config import Settings
from proxy import tcp
from proxy.relay import Relay

LONGEST_ROUND_S = 5.0
LOOKS_PER_LIMIT = 4  # so a limit is noticed late by at most a quarter of it
LOOKS_AT_ONCE = 100  # after that many the relays have their turn


def time_is_up(limit_s: float) -> str:
    """Return why a session ends that has lasted as long as it may."""
    return f"session limit of {limit_s:.15g} s reached"


@contextmanager
def timed(end: EndRelay, own_s: float, usual_s: float = 0.0) -> Iterator[None]:
    """While the block lasts, call `end` after the seconds that a session's URL sets, or else `usual_s`; 0: no limit."""
    reason = f"{time_is_up(own_s)}, as its URL says" if own_s else time_is_up(usual_s)
    timers = [gevent.spawn_later(own_s or usual_s, end, reason, EndedBy.LIMIT)] if own_s or usual_s else []
    try:
        yield
    finally:
        gevent.killall(timers)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session is limited by, as the settings of the same names: seconds, 0 for no limit."""

    ping_interval: float = 0.0
    ping_timeout: float = 0.0
    session_timeout: float = 0.0
    session_idle_timeout: float = 0.0


class Watchdog:
    """Looks after all sessions that a proxy relays."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Set the settings with the limits, and the clock."""
        self._limits = Limits(*(getattr(settings, field.name) for field in fields(Limits)))
        self._round_s = min([LONGEST_ROUND_S, *(limit / LOOKS_PER_LIMIT for limit in astuple(self._limits) if limit)])
        self._watches: set[Watch] = set()
        self._clock = clock
        self._now = 0.0  # seconds; see _advance
        self._read_at = clock()

    def watch(self, relay: Relay) -> Watch:
        """Return a watch over a session, for the `with` block that it lasts."""
        self._advance()
        return Watch(relay, self._limits, self._watches, self._now)

    def watch_inner(self, relay: Relay) -> Watch:
        """Return a watch over a session that another appliance's proxy limits: it ends if that one's system is gone."""
        self._advance()
        return Watch(relay, Limits(), self._watches, self._now)

    def make_round(self) -> None:
        """Look at every session once, spread over the time of a round."""
        watches = list(self._watches)
        pause_s = self._round_s / (1 + len(watches) // LOOKS_AT_ONCE)
        for first in range(0, len(watches) + 1, LOOKS_AT_ONCE):
            gevent.sleep(pause_s)
            self._advance()
            for watch in watches[first : first + LOOKS_AT_ONCE]:
                watch.look(self._now)

    def _advance(self) -> None:
        """Advance the watchdog's own time, by at most a round if the proxy stood still.

        What clients said meanwhile is not read yet, and no session may end for the proxy's own silence.
        """
        read_at, self._read_at = self._read_at, self._clock()
        self._now += min(self._read_at - read_at, self._round_s)


class Watch:
    """What was seen of one session, and when: seconds of the watchdog's time."""

    __slots__ = (
        "_asked_at", "_busy_at", "_heard", "_heard_at", "_limits", "_message_bytes", "_relay", "_sent", "_sent_at",
        "_started", "_watches",
    )  # fmt: skip

    def __init__(self, relay: Relay, limits: Limits, watches: set[Watch], now: float) -> None:
        """Set the session's relay, its limits, and the set that this watch is in while its `with` block runs."""
        self._relay, self._limits, self._watches = relay, limits, watches
        self._started = self._sent_at = self._heard_at = self._busy_at = now
        self._asked_at: float | None = None  # since when the client owes a sign of life
        self._sent = self._heard = 0
        self._message_bytes = relay.message_bytes

    def __enter__(self) -> None:
        """Begin to be looked at."""
        self._watches.add(self)

    def __exit__(self, *_: object) -> None:
        """Be looked at no more."""
        self._watches.discard(self)

    def look(self, now: float) -> None:
        """See what has moved since the last look; ping or end the session if that is due."""
        self._see(now)
        if end := self._reason_to_end(now):
            self._relay.end(*end)
        elif 0 < self._limits.ping_interval <= now - self._sent_at and self._relay.ping():
            self._sent_at = now
            if self._asked_at is None:
                self._asked_at = now

    def _see(self, now: float) -> None:
        relay = self._relay
        if self._sent != (sent := relay.bytes_to_client):
            self._sent, self._sent_at = sent, now
        if self._heard != (heard := relay.bytes_from_client):
            self._heard, self._heard_at, self._asked_at = heard, now, None
        # Less than before while a control frame is incomplete: then nothing is new.
        if self._message_bytes < (message_bytes := relay.message_bytes):
            self._message_bytes, self._busy_at = message_bytes, now

    def _reason_to_end(self, now: float) -> tuple[str, EndedBy] | None:
        """Return the reason for which the session must end now, and who causes that; None if there is none."""
        limits = self._limits
        if 0 < limits.session_timeout <= now - self._started:
            return time_is_up(limits.session_timeout), EndedBy.LIMIT
        if 0 < limits.session_idle_timeout <= now - self._busy_at:
            return f"session was idle for {limits.session_idle_timeout:.15g} s", EndedBy.LIMIT
        return ("client stopped answering", EndedBy.NETWORK) if self._is_gone(now) else None

    def _is_gone(self, now: float) -> bool:
        """Whether the client has owed a sign of life for too long, or its system has."""
        owes_s = 0.0 if self._asked_at is None else now - self._asked_at
        if 0 < self._limits.ping_timeout <= owes_s:
            return True
        return now - self._heard_at >= tcp.UNREACHABLE_S and self._relay.client_is_unreachable
