"""How many connections the proxy keeps: of one client, and without a complete request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from appliance.request_errors import TooManyConnections


class Connections:
    """Counts the sessions' connections by their client's address."""

    def __init__(self, most: int) -> None:
        """Set how many one client may have at a time; 0 means any number."""
        self._most = most
        self._count: Counter[str] = Counter()

    @contextmanager
    def of(self, client: str) -> Iterator[None]:
        """Count one while the block lasts; raises TooManyConnections."""
        if self._most and self._count[client] >= self._most:
            raise TooManyConnections(
                f"{client} already has {self._most} sessions here, the most that one client may have."
            )
        self._count[client] += 1
        try:
            yield
        finally:
            self._count[client] -= 1
            if not self._count[client]:
                del self._count[client]


class Cuttable(Protocol):
    """A connection that can be ended from outside its greenlet."""

    def cut(self) -> None:
        """End it: its reader finds the end."""


class Unheard:
    """The connections whose request is not complete; with one too many, the oldest is cut.

    An honest client's request is complete within milliseconds, so cutting the oldest costs the least: any number of
    idle connections keeps nobody out and uses up no descriptors.
    """

    def __init__(self, most: int) -> None:
        """Set how many there may be."""
        self._most = most
        self._waiting: dict[Cuttable, None] = {}  # in order of arrival

    def cut_all(self) -> None:
        """End all of them: the proxy stops."""
        for connection in list(self._waiting):
            connection.cut()

    @contextmanager
    def hold(self, connection: Cuttable) -> Iterator[None]:
        """Count a connection among the unheard while the block lasts."""
        if len(self._waiting) >= self._most:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.cut()
        self._waiting[connection] = None
        try:
            yield
        finally:
            self._waiting.pop(connection, None)
