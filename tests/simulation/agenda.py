"""Simulated time: what happens next, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Agenda:
    """Things to happen, in the order of their times; those of one time in the order in which they were put down."""

    def __init__(self) -> None:
        """Begin at 0 s."""
        self.now_s = 0.0
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Let something happen after some seconds."""
        heapq.heappush(self._entries, (self.now_s + seconds, next(self._numbers), what))

    def run(self, until: Callable[[], bool]) -> None:
        """Let things happen until a condition holds."""
        while not until():
            self.now_s, _, happen = heapq.heappop(self._entries)
            happen()
