"""One connection and its one request: read within a time, served as a page, or refused in words."""

from __future__ import annotations

import functools
import io
import socket
from typing import Any

import gevent
from geventwebsocket.handler import WebSocketHandler

from appliance import logs
from appliance.errors import ClientGone
from appliance.grid.token_table import Principal
from appliance.request_errors import BadRequest, InternalError, RequestError, RequestTimedOut
from proxy import access, tcp, tls, wrong_client
from proxy.body import receive_body
from proxy.pages import ADMIT, OPEN, error_answer
from proxy.request import LIVE_PATH, MCP_PATH, Request, RequestParser
from proxy.services import Services

log = logs.get_logger()

ANSWER_TIMEOUT_S = 15.0  # for a client to take a page
BODY_MAX_BYTES = 64 * 1024  # of a page's request


class ConnectionHandler(WebSocketHandler):  # type: ignore[misc]  # gevent-websocket has no types
    """Serves the one request of a connection: a session takes the socket over, pywsgi serves a page."""

    ignored_socket_errors = (*WebSocketHandler.ignored_socket_errors, "timed out")  # of a client that takes no page

    def __init__(self, sock: socket.socket, address: Any, server: Any) -> None:
        """Set what pywsgi passes."""
        tcp.tune(sock)
        super().__init__(sock, address, server, io.BytesIO())
        self.socket: socket.socket = sock
        self.services: Services = server.services
        self.client = str(address[0])
        self._is_answered = False

    def handle(self) -> None:
        """Serve the connection, from accept to close.

        It has one request, so no request can hide behind one that two parties understand differently.
        """
        request = None
        try:
            with self.services.unheard.hold(self):
                request = self._receive()
            self._answer(request)
        except ClientGone as gone:
            say = log.info if request else log.debug  # load balancers connect only to see whether they can
            say("client.gone", client=self.client, error=str(gone))
            if request:
                self.services.metrics.client_gone()
        except RequestError as error:
            log.info("request.refused", client=self.client, status=error.status, error=str(error))
            self.services.metrics.refused(error)
            self._refuse(error, request)
        except Exception:
            log.exception("request.failed", client=self.client)
            if not self._is_answered:
                self._refuse(InternalError("The appliance failed to answer this request."), request)
        finally:
            self.socket.close()

    def cut(self) -> None:
        """End the connection from outside; its greenlet finds the end."""
        tcp.cut(self.socket)

    def _receive(self) -> Request:
        """Read the request, which must be complete within REQUEST_TIMEOUT, however it is cut into pieces."""
        limit_s = self.services.settings.request_timeout
        parser = RequestParser()
        with gevent.Timeout(limit_s, RequestTimedOut(f"The request was not complete within {limit_s:g} s.")):
            self._secure()
            try:
                while data := self.socket.recv(tls.RECORD_BYTES):  # rule 1 there; the parser limits the size
                    if request := parser.feed(data):
                        return request
            except OSError as error:
                raise ClientGone(str(error)) from error
        raise ClientGone("it sent no complete request")

    def _secure(self) -> None:
        """Do the TLS handshake, if there is a certificate."""
        if self.services.tls is None:
            return
        try:
            if self.socket.recv(1, socket.MSG_PEEK) not in (tls.HANDSHAKE, b""):
                endpoint = self.services.settings.endpoint
                raise BadRequest(
                    "This endpoint speaks TLS.", f"Connect with wss:// or https://, for example to {endpoint}."
                )
            self.socket = secured = self.services.tls.secure(self.socket)
            secured.do_handshake()
        except (OSError, RequestTimedOut) as error:  # before the handshake is done, nothing can be said
            raise ClientGone(f"no TLS handshake: {error}") from error

    def _answer(self, request: Request) -> None:
        """Answer the request."""
        raise NotImplementedError

    def _serve_page(self, request: Request) -> None:
        """Let pywsgi answer the request, which has been checked, with a page."""
        settings = self.services.settings
        endpoint = wrong_client.endpoint_at(request.headers.get("host", ""), settings.endpoint)
        wrong_client.refuse_path(request.path, endpoint)
        if request.path not in OPEN:
            access.refuse_foreign_host(request.headers, settings.host_names)
        self._body = self._receive_body(request)
        self.socket.settimeout(ANSWER_TIMEOUT_S)
        self._request, self._is_answered = request, True
        self.rfile = io.BytesIO(request.head)
        self.handle_one_request()
        tcp.say_goodbye(self.socket)

    def _receive_body(self, request: Request) -> io.BytesIO:
        """Read the body of a page's request, within REQUEST_TIMEOUT; most have none."""
        if not request.body_bytes:
            return io.BytesIO()
        with self.services.unheard.hold(self):
            try:
                limit_s = self.services.settings.request_timeout
                return io.BytesIO(receive_body(self.socket, request, limit_s, BODY_MAX_BYTES))
            except OSError as error:
                raise ClientGone(str(error)) from error

    def get_environ(self) -> dict[str, Any]:
        """Add the request's body, and a function that returns who sends it, or raises Unauthorized."""
        environ: dict[str, Any] = super().get_environ()
        return environ | {"wsgi.input": self._body, ADMIT: functools.partial(self.admit, self._request)}

    def run_application(self) -> None:
        """Let gevent-websocket answer the dashboard's feed, and nothing else."""
        if self._request.path == LIVE_PATH:
            super().run_application()
        else:
            super(WebSocketHandler, self).run_application()

    def answer_with(self, data: bytes) -> None:
        """Send the beginning of an answer, after which the request is not refused any more; raises ClientGone."""
        self._is_answered = True
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise ClientGone(str(error)) from error

    def admit(self, request: Request) -> Principal:
        """Return who sends the request; raises Unauthorized."""
        return self.services.access.admit(self.socket, request.headers, request.path, request.query)

    def _refuse(self, error: RequestError, request: Request | None) -> None:
        """Answer a request with an error; Playwright's clients print the body."""
        status, headers, body = error_answer(error, is_rpc=request is not None and request.path == MCP_PATH)
        if request and request.method == "HEAD":
            body = b""
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
        tcp.say_goodbye(self.socket, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)

    def log_request(self) -> None:
        """Log nothing: sessions are logged as events."""
