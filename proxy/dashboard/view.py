"""The live view: a viewer's WebSocket, passed on to the driver of the session that it looks at.

The driver takes the pictures (workers/preload/looks.js). The proxy decides who may look, dials the session's worker as
it does for a client, on this appliance or another one, and relays the bytes. A viewer takes no slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs

from appliance import logs
from appliance.errors import DialFailed
from appliance.grid import viewers
from appliance.grid.grid import Grid
from appliance.grid.story import Story
from appliance.grid.token_table import Principal
from appliance.grid.values import Grant
from appliance.names import Isolation, WorkerId
from appliance.request_errors import (
    LookRefused,
    NotFound,
    SessionUnreachable,
    StoreUnavailable,
    TooManyConnections,
    Unauthorized,
)
from appliance.settings.config import Settings
from proxy import handshake
from proxy.connection import ConnectionHandler
from proxy.dial import Connection
from proxy.relay import Relay
from proxy.request import Request

log = logs.get_logger()

VIEWERS_MAX = 50  # of one proxy; each costs a driver a screencast

_PROMISE = b"\r\nLook: yes\r\n"


class Viewing(NamedTuple):
    """A viewer that is served: what ends it, who it is, and whose session it looks at."""

    end: Callable[[str], None]
    admit: Callable[[], Principal]
    token: str


class Views:
    """The viewers of one proxy."""

    def __init__(self, grid: Grid, settings: Settings) -> None:
        """Set where sessions are found, and which browsers may be looked at."""
        self._grid, self._shown = grid, settings.shown_browsers
        self._lease_ms = int(settings.lease_ttl * 1000)
        self._viewers: dict[str, Viewing | None] = {}
        self._ended_for = ""

    def find(self, who: Principal, query: str) -> Story:
        """Return the session that a viewer asks for; raises RequestError if it may not be looked at."""
        session_id = "".join(parse_qs(query).get("session", [])[:1])
        session = self._grid.session(session_id) if session_id else None
        if session is None or not who.owns(session.token):
            raise NotFound(f"There is no session {session_id[:50]!r}.", "The dashboard lists the sessions that run.")
        if reason := _objection(session, self._shown):
            raise LookRefused(reason)
        return session

    def serve(self, handler: ConnectionHandler, who: Principal, request: Request) -> None:
        """Serve a viewer until it goes or the session ends; raises RequestError before it is answered."""
        session = self.find(who, request.query)
        if len(self._viewers) >= VIEWERS_MAX:
            raise TooManyConnections(f"{VIEWERS_MAX} viewers look at sessions through this appliance already.")
        with ExitStack() as to_be_closed:
            viewer = to_be_closed.enter_context(self._noted(session.worker))
            connection = self._dial(handler, session, request)
            to_be_closed.enter_context(closing(connection.socket))
            handler.answer_with(connection.answer.head + connection.answer.rest)
            # The driver says why a look ends; if it does not, the viewer asks again and reads the reason.
            relay = Relay(handler.socket, connection.socket, request.rest, connection.answer.rest, word_timeout_s=0)
            to_be_closed.callback(relay.close)
            self._viewers[viewer] = Viewing(relay.end, lambda: handler.admit(request), session.token)
            if self._ended_for:
                relay.end(self._ended_for)
            log.info("view.started", session=session.id, client=handler.client)
            with handler.services.watchdog.watch_inner(relay):
                relay.run("the worker is gone")
            log.info("view.ended", session=session.id, client=handler.client, reason=relay.end_reason)
        relay.finish()

    def renew(self) -> None:
        """Note that the viewers are still there, and end those that may look no more; raises StoreUnavailable."""
        viewers.note(self._grid, self._viewers, self._lease_ms)
        for viewing in filter(None, [*self._viewers.values()]):
            try:
                may_look = viewing.admit().owns(viewing.token)
            except Unauthorized:
                may_look = False
            if not may_look:
                viewing.end("This token was revoked.")

    def end_all(self, reason: str) -> None:
        """End every look, for good."""
        self._ended_for = reason
        for viewing in filter(None, [*self._viewers.values()]):
            viewing.end(reason)

    @contextmanager
    def _noted(self, worker_id: str) -> Iterator[str]:
        """Note a viewer of a worker's session for as long as the block lasts."""
        viewer = viewers.new_viewer(worker_id)
        self._viewers[viewer] = None
        try:
            viewers.note(self._grid, [viewer], self._lease_ms)
            yield viewer
        finally:
            del self._viewers[viewer]
            with suppress(StoreUnavailable):  # it is forgotten when its time is over
                viewers.forget(self._grid, viewer)

    def _dial(self, handler: ConnectionHandler, session: Story, request: Request) -> Connection:
        """Ask the session's driver for a look; raises RequestError."""
        worker = WorkerId.parse(session.worker)
        grant = Grant(session.id, session.worker, worker.name, worker.appliance, 0)
        try:
            connection = handler.services.dial(handshake.looking(request.items, session.id), grant)
        except DialFailed as error:
            raise SessionUnreachable(f"Session {session.id} is not reached: {error}.") from error
        answer = connection.answer
        if answer.status == HTTPStatus.SWITCHING_PROTOCOLS and _PROMISE in answer.head:
            return connection
        connection.socket.close()
        if answer.status == HTTPStatus.GONE:
            raise NotFound(f"Session {session.id} has ended, or is about to begin.", "Look again in a moment.")
        raise SessionUnreachable("The worker runs an earlier version of the appliance, which shows no live view.")


def _objection(session: Story, shown: str) -> str:
    """Return why a session is not shown, as a sentence; "" if it is."""
    if shown == "off":
        return "This grid has no live view: LIVE_VIEW=off."
    if session.status not in ("active", "kept"):
        return f"Session {session.id} has no browser: it {'waits' if session.status == 'waiting' else 'has ended'}."
    if session.isolation != Isolation.BROWSER and shown != "all":
        return "This session is in a shared browser, which the live view shows only where LIVE_VIEW=all."
    return ""
