"""The handler of one connection: a session, or a request for a page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus

import gevent

from appliance import logs
from appliance.deadline import Deadline
from appliance.errors import ClientGone, DialFailed
from appliance.grid.session import Session
from appliance.grid.story import EndedBy
from appliance.grid.values import Grant
from appliance.request_errors import BadRequest, NotFound, SessionUnreachable
from proxy import access, handshake, tcp, wrong_client
from proxy.connection import ANSWER_TIMEOUT_S, ConnectionHandler
from proxy.dial import Connection
from proxy.handshake import Handshake
from proxy.hangup import HangupWatch
from proxy.keeping import Holder
from proxy.limits import timed
from proxy.relay import Relay
from proxy.request import INNER_PATH, LIVE_PATH, MCP_PATH, VIEW_PATH, Request, is_for_operators

log = logs.get_logger()

UNCLEAR_S, UNCLEAR_LOOK_S = 3.0, 0.1  # for a kept session that has just ended to be released, or a browser to start


class SessionHandler(ConnectionHandler):
    """Serves what a connection asks for."""

    def _answer(self, request: Request) -> None:
        headers, settings = request.headers, self.services.settings
        self.client = access.client_address(self.client, headers.get("x-forwarded-for", ""), settings.trusted_proxies)
        access.refuse_foreign_origin(headers, request.path)
        if is_for_operators(request.path):
            access.refuse_foreign_host(headers, settings.host_names)
        if request.path == INNER_PATH:
            self._serve_inner(request)
            return
        if request.path == MCP_PATH:
            self._serve_agent(request)
            return
        if not handshake.is_upgrade(headers) or request.path == LIVE_PATH:
            self._serve_page(request)
            return
        if request.path == VIEW_PATH:
            self.services.dashboard.serve_viewer(self, self.admit(request), request)
            return
        wrong_client.refuse_session(request.path, headers, settings.endpoint)
        if (request.method, request.version) != ("GET", "1.1"):
            raise BadRequest("A WebSocket begins with a GET request of HTTP/1.1.")
        self.serve_session(request)

    def _serve_inner(self, request: Request) -> None:
        """Serve another appliance, which proves by the grid's key that it is one, and needs no token."""
        self._is_answered = True
        with self.services.unheard.hold(self):
            serve = self.services.door.welcome(self.socket, request)
        if serve:
            serve()

    def _serve_agent(self, request: Request) -> None:
        """Answer an agent's client; it may be told in pieces that it has to wait."""
        token = self.admit(request).name
        if not token:
            access.refuse_foreign_host(request.headers, self.services.settings.host_names)
        self.socket.settimeout(ANSWER_TIMEOUT_S)
        try:
            for piece in self.services.agents.answer(self.socket, request, token, self.client):
                self._is_answered = True
                self.socket.sendall(piece)
        except OSError as error:
            raise ClientGone(str(error)) from error
        tcp.say_goodbye(self.socket)

    def serve_session(self, request: Request) -> None:
        """Serve one session, from the client's request to the last byte."""
        self._asked_at = time.monotonic()
        who, settings = self.admit(request), self.services.current()
        wanted = handshake.parse(request.items, request.target, self.client, settings, who.name, may_wish=who.is_known)
        if wanted.can_be_kept and self._reconnect(wanted, request.rest):
            return
        self._refuse_if_leaving()
        with self.services.connections.of(self.client):
            self._open_session(wanted, request.rest)

    def _refuse_if_leaving(self) -> None:
        """Raise the refusal if new sessions are refused: just before one is counted, so that none goes unannounced."""
        if refusal := self.services.presence.refusal():
            raise refusal

    def _reconnect(self, wanted: Handshake, rest: bytes) -> bool:
        """Serve a client whose session is there; return whether it was.

        One that Redis knows and its driver does not has just ended, or is about to begin: a moment later it is clear.
        """
        deadline = Deadline(UNCLEAR_S)
        while grant := self.services.sessions.find_kept(wanted.request):
            self._refuse_if_leaving()
            with self.services.visits.of(self.client):
                if self._visit(wanted, grant, rest, "reconnected to"):
                    return True
            if deadline.is_over:
                raise SessionUnreachable(f"Session {wanted.request.kept_as!r} has just ended, or is about to begin.")
            gevent.sleep(UNCLEAR_LOOK_S)
        return False

    def _open_session(self, wanted: Handshake, rest: bytes) -> None:
        watch = HangupWatch(self.socket)
        with ExitStack() as to_be_closed:
            with closing(watch), self.services.sessions.open(wanted.request, watch.start) as session:
                grant, connection = self._reach_worker(wanted, session, watch)
                to_be_closed.enter_context(closing(connection.socket))
                watch.close()
                if wanted.can_be_kept and connection.answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
                    self._keep(wanted, session, grant, connection, rest)
                    return
                self._greet(wanted, grant, connection, session.progress)
                if connection.answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
                    session.finish(f"refused by the worker with {connection.answer.status}", EndedBy.DRIVER)
                    to_be_closed.callback(tcp.say_goodbye, self.socket)  # when the slot is free
                    return
                relay = Relay(self.socket, connection.socket, rest, connection.answer.rest)
                to_be_closed.callback(relay.close)
                self._relay(relay, session, grant)
            relay.finish()

    def _reach_worker(self, wanted: Handshake, session: Session, watch: HangupWatch) -> tuple[Grant, Connection]:
        """Dial the claimed worker; if that fails, claim another one, unless none can be reached."""
        while True:
            grant = session.grant
            assert grant is not None  # noqa: S101  # `open` and `retry` return with a grant, or raise
            try:
                connection = self.services.dial(wanted.claiming(grant.session_id), grant)
            except DialFailed as error:
                self.services.sessions.retry(session, error, watch.start)
            else:
                self.services.reach.succeeded(grant.appliance)
                return grant, connection

    def _keep(self, wanted: Handshake, session: Session, grant: Grant, connection: Connection, rest: bytes) -> None:
        """Hold the slot of a session that outlives its clients; the first of them is served here."""
        sessions = self.services.sessions
        holder = Holder(connection, *self._if_it_ends(grant))
        holder.on_change(lambda is_kept: sessions.keep(session, is_kept=is_kept))
        holder.on_end(lambda reason, by: sessions.visits.end(session.id, reason, by))
        session.relay(holder.end)
        limit = timed(holder.end, session.request.timeout_s, self.services.settings.session_timeout)
        with self._counted(session, grant), holder.followed(), limit:
            try:
                is_there = self._visit(wanted, grant, rest, "this is the first client of")
                holder.wait()
                if not is_there:
                    raise SessionUnreachable(f"Session {wanted.request.kept_as!r} has ended: {holder.end_reason}.")
            finally:
                if holder.end_reason:
                    session.finish(holder.end_reason, holder.ended_by)
                self._log("session.ended", grant, reason=session.end_reason, bytes=holder.bytes_relayed)

    def _visit(self, wanted: Handshake, grant: Grant, rest: bytes, what: str) -> bool:
        """Serve one client of a session that outlives it, unless the driver knows of no such session; return which.

        `what` is said of the session in the client's log.
        """
        with ExitStack() as to_be_closed:
            with self.services.sessions.visits.open(grant) as visit:
                connection = self._dial_visit(wanted, grant)
                to_be_closed.enter_context(closing(connection.socket))
                if connection.answer.status == HTTPStatus.GONE:
                    return False
                to_be_closed.callback(self.socket.close)
                self._greet(wanted, grant, connection, [f"{what} {wanted.request.kept_as!r}"])
                if connection.answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
                    to_be_closed.callback(tcp.say_goodbye, self.socket)
                    return True
                relay = Relay(self.socket, connection.socket, rest, connection.answer.rest)
                to_be_closed.callback(relay.close)
                visit.relay(relay.end, lambda: relay.traffic)
                with self._followed(relay):
                    relay.run(*self._if_it_ends(grant))
            relay.finish()
        self._log("session.left", grant, reason=relay.end_reason, bytes=relay.bytes_relayed)
        return True

    def _dial_visit(self, wanted: Handshake, grant: Grant) -> Connection:
        try:
            return self.services.dial(wanted.visiting(grant.session_id), grant)
        except DialFailed as error:
            raise SessionUnreachable(f"Session {wanted.request.kept_as!r} is not reached: {error}.") from error

    def _greet(self, wanted: Handshake, grant: Grant, connection: Connection, more: Sequence[str] = ()) -> None:
        """Pass the worker's answer on, with lines on the session for the client's log."""
        answer, head = connection.answer, connection.answer.head
        if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
            about = [f"session {grant.session_id} on {grant.worker_id}", f"waited {grant.waited_ms} ms for a slot"]
            head = handshake.with_log(head, [*about, *more, *wanted.log_lines])
        self._is_answered = True
        try:
            self.socket.sendall(head + answer.rest)
        except OSError as error:
            raise ClientGone(str(error)) from error
        self.services.metrics.connected(wanted.request, time.monotonic() - self._asked_at)

    def _relay(self, relay: Relay, session: Session, grant: Grant) -> None:
        with self._counted(session, grant):
            session.relay(relay.end, lambda: relay.traffic)
            try:
                with self._followed(relay), timed(relay.end, session.request.timeout_s):
                    relay.run(*self._if_it_ends(grant))
            finally:
                session.finish(relay.end_reason, relay.ended_by)
                self._log("session.ended", grant, reason=relay.end_reason, bytes=relay.bytes_relayed)

    @contextmanager
    def _followed(self, relay: Relay) -> Iterator[None]:
        """Limit a relay, and count its traffic."""
        with self.services.watchdog.watch(relay), self.services.metrics.traffic.of(relay):
            yield

    @contextmanager
    def _counted(self, session: Session, grant: Grant) -> Iterator[None]:
        """Log a session's start, and count its start and its end."""
        self._log_start(session, grant)
        metrics, started = self.services.metrics, time.monotonic()
        metrics.session_started(session.request, grant.waited_ms)
        try:
            yield
        finally:
            metrics.session_ended(session.request, session.ended_by, time.monotonic() - started)

    def _if_it_ends(self, grant: Grant) -> tuple[str, str, EndedBy]:
        """Return the reason if the worker's side ends and says nothing, the name of that side, and who causes it.

        Another appliance's proxy reports what happens to its workers. If it says nothing, that proxy was lost.
        """
        if grant.appliance == self.services.settings.appliance_name:
            return f"worker {grant.worker_name} crashed", "the driver", EndedBy.WORKER
        other_side = f"appliance {grant.appliance}"
        return f"the connection to {other_side} was lost", other_side, EndedBy.APPLIANCE

    def _log_start(self, session: Session, grant: Grant) -> None:
        request = session.request
        start = {"name": request.name, "token": request.token, "waited_ms": grant.waited_ms}
        gevent.spawn(self._log, "session.started", grant, **start)  # written while the first bytes are awaited

    def _log(self, event: str, grant: Grant, **fields: object) -> None:
        log.info(event, session=grant.session_id, worker=grant.worker_id, client=self.client, **fields)


class DoorHandler(SessionHandler):
    """Serves only the grid's other appliances, at an address that is not for clients."""

    def _answer(self, request: Request) -> None:
        if request.path != INNER_PATH:
            endpoint = self.services.settings.endpoint
            raise NotFound("Only the grid's other appliances are served here.", f"Clients connect to {endpoint}.")
        super()._answer(request)
