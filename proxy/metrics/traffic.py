"""The traffic of a proxy's sessions: read from the relays when somebody asks, so that a frame costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, Metric


class Relayed(Protocol):
    """What a relay has moved so far."""

    @property
    def bytes_from_client(self) -> int:
        """Bytes that the client has sent."""

    @property
    def bytes_to_client(self) -> int:
        """Bytes that the client was sent."""


class Traffic:
    """Counts bytes by their direction."""

    def __init__(self) -> None:
        """Start at zero."""
        self._live: set[Relayed] = set()
        self._from_client = self._to_client = 0  # bytes of the relays that have ended

    @contextmanager
    def of(self, relay: Relayed) -> Iterator[None]:
        """Count a relay's traffic while the block lasts."""
        self._live.add(relay)
        try:
            yield
        finally:
            self._live.discard(relay)
            self._from_client += relay.bytes_from_client
            self._to_client += relay.bytes_to_client

    def collect(self) -> Iterator[Metric]:
        """Yield the counter."""
        moved = CounterMetricFamily(
            "appliance_session_bytes_total", "Bytes that sessions relayed.", labels=["direction"]
        )
        moved.add_metric(["from_client"], self._from_client + sum(one.bytes_from_client for one in self._live))
        moved.add_metric(["to_client"], self._to_client + sum(one.bytes_to_client for one in self._live))
        yield moved
