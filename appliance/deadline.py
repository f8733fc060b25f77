"""A moment by which something is done or given up."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """The moment so many seconds from now, on a clock that nobody sets."""

    __slots__ = ("_at", "_clock")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Set the seconds, and the clock that counts them."""
        self._clock = clock
        self._at = clock() + seconds

    @property
    def left_s(self) -> float:
        """The seconds until then; 0 when it is over."""
        return max(0.0, self._at - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self._clock() >= self._at


def wait_until(condition: Callable[[], object], timeout_s: float, interval_s: float) -> bool:
    """Look at a condition at intervals until it is true; return False if it is not within the time."""
    deadline = Deadline(timeout_s)
    while not condition():
        if deadline.is_over:
            return False
        time.sleep(interval_s)
    return True
