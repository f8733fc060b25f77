"""The traffic of a proxy's sessions: read from the relays when somebody asks, so that a frame costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from prometheus_client.core import Metric

from appliance.grid.story import NO_TRAFFIC, Traffic
from proxy.metrics.families import counter


class Relayed(Protocol):
    """What counts a session's traffic: a relay."""

    @property
    def traffic(self) -> Traffic:
        """What it has moved so far."""


class TrafficCollector:
    """Counts bytes and messages by their direction."""

    def __init__(self) -> None:
        """Start at zero."""
        self._live: set[Relayed] = set()
        self._ended = NO_TRAFFIC

    @contextmanager
    def of(self, relay: Relayed) -> Iterator[None]:
        """Count a relay's traffic while the block lasts."""
        self._live.add(relay)
        try:
            yield
        finally:
            self._live.discard(relay)
            self._ended = _sum(self._ended, relay.traffic)

    def collect(self) -> Iterator[Metric]:
        """Yield the counters."""
        all_moved = self._ended
        for relay in self._live:
            all_moved = _sum(all_moved, relay.traffic)
        moved = [(("from_client",), all_moved.bytes_from_client), (("to_client",), all_moved.bytes_to_client)]
        said = [(("from_client",), all_moved.messages_from_client), (("to_client",), all_moved.messages_to_client)]
        yield counter("appliance_session_bytes_total", "Bytes that sessions relayed.", moved, "direction")
        yield counter("appliance_session_messages_total", "Messages that sessions relayed.", said, "direction")


def _sum(one: Traffic, other: Traffic) -> Traffic:
    return Traffic(*(a + b for a, b in zip(one, other, strict=True)))
