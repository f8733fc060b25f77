"""The vigil over a proxy's sessions: pings, and the limits of how long a session may last, idle or silent.

One greenlet looks at all sessions, in rounds. Between two looks a session only counts its bytes, as it
does anyway: no clock is read and no timer is set for a message, and an idle session costs a look a round.
"""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass, fields

import gevent

from appliance.settings.config import Settings
from proxy import tcp
from proxy.relay import Relay

LONGEST_ROUND_S = 5.0
LOOKS_PER_LIMIT = 4  # so that what happens is seen late by a quarter of the limit at most
LOOKS_AT_ONCE = 100  # after so many the relays have their turn


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session is limited by, as the settings of the same names: seconds, 0 for no limit."""

    ping_interval: float = 0.0
    ping_timeout: float = 0.0
    session_timeout: float = 0.0
    session_idle_timeout: float = 0.0


class Vigil:
    """Looks after all sessions that a proxy relays."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings with the limits."""
        self._limits = Limits(*(getattr(settings, field.name) for field in fields(Limits)))
        self._round_s = min([LONGEST_ROUND_S, *(limit / LOOKS_PER_LIMIT for limit in astuple(self._limits) if limit)])
        self._watches: set[Watch] = set()
        self._now = 0.0  # seconds; see _tell_time
        self._told_at = time.monotonic()

    def over(self, relay: Relay) -> Watch:
        """Give a watch over a session, for the `with` block that it lasts."""
        self._tell_time()
        return Watch(relay, self._limits, self._watches, self._now)

    def over_inner(self, relay: Relay) -> Watch:
        """Return a watch over a session that another appliance's proxy limits: it ends if that one's system is gone."""
        self._tell_time()
        return Watch(relay, Limits(), self._watches, self._now)

    def make_round(self) -> None:
        """Look at every session once, spread over the time of a round."""
        watches = list(self._watches)
        pause_s = self._round_s / (1 + len(watches) // LOOKS_AT_ONCE)
        for first in range(0, len(watches) + 1, LOOKS_AT_ONCE):
            gevent.sleep(pause_s)
            self._tell_time()
            for watch in watches[first : first + LOOKS_AT_ONCE]:
                watch.look(self._now)

    def _tell_time(self) -> None:
        """Go on with the vigil's own clock, on which a standstill of the proxy is a round at most.

        For what clients have said meanwhile is not read yet, and nobody must end for a silence that was ours.
        """
        told_at, self._told_at = self._told_at, time.monotonic()
        self._now += min(self._told_at - told_at, self._round_s)


class Watch:
    """What was seen of one session, and when: seconds of the vigil's clock."""

    __slots__ = (
        "_asked_at", "_busy_at", "_heard", "_heard_at", "_limits", "_message_bytes", "_relay", "_sent", "_sent_at",
        "_started", "_watches",
    )  # fmt: skip

    def __init__(self, relay: Relay, limits: Limits, watches: set[Watch], now: float) -> None:
        """Take the session's relay, its limits, and the watches among which this one is while its `with` block runs."""
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
        """See what has moved since the last look, and do what is due."""
        self._see(now)
        if reason := self._reason_to_end(now):
            self._relay.end(reason)
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
        # Less than before, while a control frame has begun that has not come whole: then nothing is new.
        if self._message_bytes < (message_bytes := relay.message_bytes):
            self._message_bytes, self._busy_at = message_bytes, now

    def _reason_to_end(self, now: float) -> str:
        """Give the reason for which the session must end now, or ""."""
        limits = self._limits
        if 0 < limits.session_timeout <= now - self._started:
            return f"session limit of {limits.session_timeout:.15g} s reached"
        if 0 < limits.session_idle_timeout <= now - self._busy_at:
            return f"session was idle for {limits.session_idle_timeout:.15g} s"
        return "client stopped answering" if self._is_gone(now) else ""

    def _is_gone(self, now: float) -> bool:
        """Whether the client owes a sign of life for too long, or its system does."""
        owes_s = 0.0 if self._asked_at is None else now - self._asked_at
        if 0 < self._limits.ping_timeout <= owes_s:
            return True
        return now - self._heard_at >= tcp.UNREACHABLE_S and self._relay.client_is_unreachable
