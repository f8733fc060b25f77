"""How a proxy leaves its load balancer, so that no session fails: when it is drained, and when it shuts down.

Rules
 1. /readyz fails at once, before anything else changes.
 2. New sessions are served for the time of the notice, DRAIN_NOTICE, in which the load balancer finds that out: by the
    workers of other appliances, for those of this one drain. A shutdown gives half of SHUTDOWN_GRACE at most, for those
    sessions must end in the other half.
 3. After that they are refused with 503; at once, if no other appliance serves. Those that wait already go on waiting,
    unless that is in vain.
 4. Who has seen this proxy drained before need not be given notice again: neither for a shutdown that follows, nor
    when it is restarted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance.errors import Drained, RequestError, ShuttingDown


class Departure:
    """What of its leaving is done: nothing, while the proxy serves."""

    def __init__(self, notice_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the seconds of the notice."""
        self._notice_s = notice_s
        self._clock = clock
        self._others = 0
        self._is_told = False  # what Redis says of this appliance
        self._drained_at: float | None = None
        self._refuses_from: float | None = None
        self._is_stopping = False
        self._why_it_stops = ""

    @property
    def is_stopping(self) -> bool:
        """Whether the proxy shuts down."""
        return self._is_stopping

    @property
    def drained_for_s(self) -> float:
        """Give for how long it has been drained; 0 if it is not."""
        return 0.0 if self._drained_at is None else self._clock() - self._drained_at

    def note(self, drained: bool, others: int) -> bool:
        """Note whether it is to be drained, and how many other appliances serve. True if the former is news."""
        is_first, self._is_told, self._others = not self._is_told, True, others
        if drained == (self._drained_at is not None):
            return False
        now = self._clock()
        self._drained_at = now if drained else None
        if not self._is_stopping:
            self._refuses_from = now + (0 if is_first else self._notice_s) if drained else None
        return True

    def shut_down(self, grace_s: float, why: str = "is shutting down") -> None:
        """Begin to leave for good, with so many seconds for all; `why` completes "The appliance"."""
        until = self._clock() + min(self._notice_s, grace_s / 2)
        self._refuses_from = until if self._refuses_from is None else min(until, self._refuses_from)
        self._is_stopping, self._why_it_stops = True, why

    def leaving(self) -> RequestError | None:
        """Give why a load balancer is to leave; None while it need not."""
        if self._is_stopping:
            return ShuttingDown(f"The appliance {self._why_it_stops}.")
        return Drained("The appliance is drained.") if self._drained_at is not None else None

    def refusal(self) -> RequestError | None:
        """Give why new sessions are refused; None while they are not."""
        return self.leaving() if not (self._others and self.notice_left_s()) else None

    def refusal_of_waiters(self) -> RequestError | None:
        """Give why those who wait for a slot are refused; None while they may wait."""
        return self.refusal() if self._is_stopping or not self._others else None

    def notice_left_s(self) -> float:
        """Give the seconds for which new sessions are still served, if others can; 0 also if none can."""
        if self._refuses_from is None or not self._others:
            return 0.0
        return max(0.0, self._refuses_from - self._clock())
