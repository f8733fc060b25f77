"""The handler of one connection: a session, or a request to the operations' pages."""

from __future__ import annotations

import io
import json
import socket
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import gevent
from geventwebsocket.handler import WebSocketHandler

from appliance import logs
from appliance.errors import ClientGone, NotFound, RequestError, ShuttingDown, WorkerUnreachable
from appliance.models import Grant
from appliance.registry import Session
from proxy import handshake, tcp
from proxy.dial import Connection, dial
from proxy.handshake import Handshake
from proxy.hangup import HangupWatch
from proxy.relay import Relay

log = logs.get_logger()

REQUEST_TIMEOUT_S = 15.0
REQUEST_BUFFER_BYTES = 1024  # a handshake is smaller, and each session keeps the buffer: io's own default is 8 KiB


class SessionHandler(WebSocketHandler):  # type: ignore[misc]  # gevent-websocket has no types
    """pywsgi parses the request; a session then takes the socket over, anything else is WSGI's."""

    def __init__(self, sock: socket.socket, address: Any, server: Any) -> None:
        """Take what pywsgi gives; the connection must send its request within REQUEST_TIMEOUT_S."""
        tcp.tune(sock)
        self._stream = RequestStream(sock)
        super().__init__(sock, address, server, io.BufferedReader(self._stream, REQUEST_BUFFER_BYTES))
        self.proxy = server.proxy

    def run_application(self) -> None:
        """Serve a session if the request asks for a WebSocket, else the operations' pages."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not handshake.is_upgrade(headers):
            super(WebSocketHandler, self).run_application()
            self._stream.restart()
            return
        self.close_connection = True
        try:
            self.serve_session()
        except ClientGone:
            log.info("client.gone", client=self.client)
        except RequestError as error:
            log.info("request.refused", client=self.client, status=error.status, error=str(error))
            self._refuse(error)

    def serve_session(self) -> None:
        """Serve one session, from the client's request to the last byte."""
        if self.proxy.stopping:
            raise ShuttingDown("the appliance is shutting down")
        if self.environ["PATH_INFO"] != "/":
            raise NotFound(
                f"there are no sessions at {self.environ['PATH_INFO'][:100]}", "Connect to / of this host and port."
            )
        wanted = handshake.parse(self.headers.items(), self.path, self.client, self.proxy.settings.default_browser_type)
        token = self.proxy.guard.admit(self.environ.get("HTTP_AUTHORIZATION", ""), self.environ["QUERY_STRING"])
        request = replace(wanted.request, token=token)
        watch = HangupWatch(self.socket)
        with ExitStack() as to_be_closed:
            with closing(watch), self.proxy.sessions.open(request, watch.start) as session:
                connection = self._reach_worker(wanted, session, watch)
                to_be_closed.enter_context(closing(connection.socket))
                watch.close()
                self.socket.sendall(self._greeting(session, connection))
                if connection.answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
                    session.end_reason = f"refused by the worker with {connection.answer.status}"
                    return
                early = self._stream.detach_rest(self.rfile)
                relay = Relay(self.socket, connection.socket, early, connection.answer.rest)
                to_be_closed.callback(relay.close)
                self._relay(relay, session)
            relay.finish()

    def _reach_worker(self, wanted: Handshake, session: Session, watch: HangupWatch) -> Connection:
        """Dial the worker that was claimed; one that does not answer is suspect, and another is claimed."""
        while True:
            grant = session.grant
            assert grant is not None  # noqa: S101  # `open` and `move` return with a grant, or raise
            try:
                return dial(wanted, grant.endpoint, session.deadline)
            except WorkerUnreachable as error:
                log.warning("worker.suspect", session=session.id, worker=grant.worker_id, error=str(error))
                self.proxy.sessions.move(session, watch.start)

    def _greeting(self, session: Session, connection: Connection) -> bytes:
        """Give the worker's answer, with what the client's log should say of its session."""
        answer, grant = connection.answer, session.grant
        if answer.status != HTTPStatus.SWITCHING_PROTOCOLS or grant is None:
            return answer.head + answer.rest
        log_lines = [f"session {session.id} on {grant.worker_id}", f"waited {grant.waited_ms} ms for a slot"]
        return handshake.with_log(answer.head, log_lines) + answer.rest

    def _relay(self, relay: Relay, session: Session) -> None:
        grant = session.grant
        assert grant is not None  # noqa: S101
        gevent.spawn(self._log_start, session, grant)  # written while the first bytes are awaited
        session.on_end(relay.end)
        try:
            relay.run(grant.slot)
        finally:
            session.end_reason, session.bytes_relayed = relay.end_reason, relay.bytes_relayed
            self._log("session.ended", session, grant, reason=relay.end_reason, bytes=relay.bytes_relayed)

    def _log_start(self, session: Session, grant: Grant) -> None:
        request = session.request
        self._log("session.started", session, grant, name=request.name, token=request.token, waited_ms=grant.waited_ms)

    def _log(self, event: str, session: Session, grant: Grant, **fields: object) -> None:
        log.info(event, session=session.id, worker=grant.worker_id, client=self.client, **fields)

    @property
    def client(self) -> str:
        """The client's address."""
        return str(self.client_address[0])

    def _refuse(self, error: RequestError) -> None:
        """Answer a request for a session with an error; Playwright's clients print the body."""
        status, headers, body = error_answer(error)
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
        try:
            self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
        except OSError as gone:
            log.info("client.gone", client=self.client, error=str(gone))

    def log_request(self) -> None:
        """Leave pywsgi's access log out: sessions are logged as events."""


class RequestStream(io.RawIOBase):
    """What pywsgi reads a request from; once detached it has ended, so that no byte is lost in a buffer."""

    def __init__(self, sock: socket.socket) -> None:
        """Take the connection's socket; a request must be there within REQUEST_TIMEOUT_S."""
        self._socket = sock
        self._detached = False
        self.restart()

    def restart(self) -> None:
        """Give the connection REQUEST_TIMEOUT_S for its next request, however it is cut into pieces."""
        self._deadline = time.monotonic() + REQUEST_TIMEOUT_S

    def readable(self) -> bool:
        """Say yes, as io asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read from the socket, or end; raises TimeoutError when the request is late."""
        if self._detached:
            return 0
        self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
        try:
            return self._socket.recv_into(buffer)
        finally:
            self._socket.settimeout(None)

    def detach_rest(self, reader: io.BufferedReader) -> bytes:
        """Read no more, and give what the reader above has read beyond the request."""
        self._detached = True
        return reader.read()


def error_answer(error: RequestError) -> tuple[str, list[tuple[str, str]], bytes]:
    """Give the status line, headers and body of an error: `{"error": {"code", "message", "hint"}}`."""
    status = HTTPStatus(error.status)
    content = {"error": {"code": error.status, "message": str(error), "hint": error.hint}}
    body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if error.retry_after_s is not None:
        headers.append(("Retry-After", str(error.retry_after_s)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.append(("WWW-Authenticate", "Bearer"))
    if error.status == HTTPStatus.BAD_REQUEST:
        headers.append(("Sec-WebSocket-Version", "13"))
    if error.status == HTTPStatus.UPGRADE_REQUIRED:
        headers.append(("Upgrade", "websocket"))
    return f"{status.value} {status.phrase}", headers, body
