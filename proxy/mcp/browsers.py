"""Where agents' processes get their browsers: the sessions' endpoint once more, on a unix socket that only they reach.

A process shows the ticket of its agent, and the session is the agent's: it has the agent's token, address and URL.
"""

from __future__ import annotations

import socket
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from appliance import logs
from appliance.grid.session import End, Session
from appliance.grid.story import EndedBy
from appliance.grid.token_table import Principal
from appliance.grid.values import Grant
from appliance.request_errors import Unauthorized
from proxy import access, handshake
from proxy.handler import SessionHandler
from proxy.mcp.agent import Agent
from proxy.mcp.agents import Agents
from proxy.relay import Relay
from proxy.request import Request
from proxy.services import Services

log = logs.get_logger()

_BACKLOG = 128
_RETRY_S = 1.0


class Browsers:
    """The listener for agents' processes."""

    def __init__(self, services: Services, agents: Agents) -> None:
        """Set what its sessions share; nobody listens yet."""
        self.services, self.agents = services, agents
        self._server: StreamServer | None = None

    def start(self) -> None:
        """Listen, now or as soon as the machine allows that, which it does not on a full disk."""
        while self._server is None:
            try:
                self._listen()
            except OSError as error:
                log.warning("mcp.not_listening", error=str(error))
                gevent.sleep(_RETRY_S)

    def _listen(self) -> None:
        path = self.services.settings.paths.mcp_browsers
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        path.chmod(0o666)  # its folder is closed to others
        listener.listen(_BACKLOG)
        self._server = StreamServer(listener, self._serve, spawn=Pool())
        self._server.start()

    def _serve(self, connection: socket.socket, _: object) -> None:
        BrowserHandler(connection, ("", 0), self).handle()

    def stop(self, timeout_s: float) -> None:
        """Stop, and wait for the last words of sessions."""
        if self._server:
            self._server.stop(timeout_s)


class BrowserHandler(SessionHandler):
    """Serves the session of an agent's process."""

    def __init__(self, sock: socket.socket, address: Any, server: Browsers) -> None:
        """Set what the listener passes."""
        super().__init__(sock, address, server)
        self._agents = server.agents
        self._agent: Agent

    def _secure(self) -> None:
        """Leave out TLS: the connection does not leave the machine."""

    def _answer(self, request: Request) -> None:
        given = access.given_tokens(request.headers.get("authorization", ""), "")
        agent = self._agents.by_ticket(given[0]) if given else None
        if agent is None or not handshake.is_upgrade(request.headers):
            raise Unauthorized("Only the processes of agents are served here.")
        self._agent, self.client = agent, agent.client
        self.serve_session(request)

    def admit(self, request: Request) -> Principal:
        return Principal(self._agent.token)

    def _relay(self, relay: Relay, session: Session, grant: Grant) -> None:
        self._agent.end_browser = lambda reason: session.end(End(reason, EndedBy.CLIENT))
        try:
            super()._relay(relay, session, grant)
        finally:
            self._agent.browser_ended(relay.end_reason)
