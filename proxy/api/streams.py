"""Streams of server-sent events, each to one client, for as long as it listens and may listen."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

from gevent.event import Event

from appliance import logs
from appliance.grid.grid import Grid
from appliance.grid.token_table import Principal
from appliance.request_errors import BadRequest, RequestError, StoreUnavailable, TooManyConnections

log = logs.get_logger()

STREAMS_MAX = 50  # of one proxy
LOOK_S = 0.5
HEARTBEAT_S = 5.0  # without one, a client that has gone would be found at the next event; it is also admitted again
_ID = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)


class Streams:
    """The streams of one proxy."""

    def __init__(self, grid: Grid) -> None:
        """Set the grid whose events are told."""
        self._grid = grid
        self._open: set[_Stream] = set()
        self._is_over = Event()

    def open(self, last_id: str, count: int, admit: Callable[[], Principal]) -> _Stream:
        """Return a stream of the events after one, or of the `count` newest and all that follow.

        Raises BadRequest, TooManyConnections and StoreUnavailable.
        """
        if last_id and not _ID.fullmatch(last_id):
            raise BadRequest(
                "The header Last-Event-ID is not the id of an event.", "Leave it out to start from the newest events."
            )
        if len(self._open) >= STREAMS_MAX:
            raise TooManyConnections(f"{STREAMS_MAX} clients follow the events of this appliance already.")
        first = self._grid.events_after(last_id) if last_id else self._grid.events(count)
        stream = _Stream(self._told(first, last_id, admit), self._open.discard)
        self._open.add(stream)
        return stream

    def end_all(self) -> None:
        """End all streams: the proxy stops."""
        self._is_over.set()

    def _told(self, events: list[dict[str, str]], last_id: str, admit: Callable[[], Principal]) -> Iterator[bytes]:
        yield b"retry: 2000\n\n"
        quiet_until = time.monotonic() + HEARTBEAT_S
        while True:
            for event in events:
                last_id = event["id"]
                yield f"id: {last_id}\nevent: {event['event']}\ndata: {json.dumps(event)}\n\n".encode()
            if time.monotonic() > quiet_until:
                yield b": the grid is quiet\n\n"
                quiet_until = time.monotonic() + HEARTBEAT_S
                if not _is_admitted(admit):
                    return
            if self._is_over.wait(LOOK_S):
                return
            events = self._newer(last_id)

    def _newer(self, last_id: str) -> list[dict[str, str]]:
        try:
            return self._grid.events_after(last_id)
        except StoreUnavailable:
            return []  # they come when Redis is back


class _Stream:
    """What a WSGI server iterates over and closes, whether it was begun or not."""

    def __init__(self, pieces: Iterator[bytes], close: Callable[[_Stream], None]) -> None:
        self._pieces, self._close = pieces, close

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        """Count no more."""
        self._close(self)


def _is_admitted(admit: Callable[[], Principal]) -> bool:
    """Return whether the client may still listen; while Redis is away, that is not known."""
    try:
        return admit().is_admin
    except StoreUnavailable:
        return True
    except RequestError as error:
        log.info("events.ended", error=str(error))
        return False
