"""All agents of one proxy: what is answered to each request at /mcp.

Rules
 1. An agent belongs to the token that began it. To everybody else its id does not exist.
 2. A web page cannot be one: its requests have an `Origin` (access.py, rule 1), for these are POST and DELETE. One
    without a token must also name a host that no stranger's domain can have (rule 2 there).
 3. A browser is opened by a call of a tool, never before. It is closed when the agent ends, or has made no call for
    MCP_IDLE_TIMEOUT; a call may take no longer than that.
 4. An agent without a browser costs only its entry here. Of each token, the last AGENTS_MAX are kept.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from gevent.event import AsyncResult

from appliance import logs
from appliance.request_errors import BadRequest, NotAcceptable, NotFound, TooManyConnections
from appliance.settings.config import Settings
from proxy import access, handshake, query
from proxy.body import receive_body
from proxy.mcp import messages
from proxy.mcp.agent import Agent
from proxy.mcp.answers import ACCEPTED, GONE, PULSE, STREAM, event, json_answer
from proxy.mcp.messages import Message
from proxy.mcp.process import Process, ProcessEnded
from proxy.presence import Presence
from proxy.request import Request

log = logs.get_logger()

AGENTS_MAX = 1000
CALLS_MAX = 8  # of one agent at a time
LOOK_S = 1.0
_BODY_MAX_BYTES = 1024 * 1024
WHOLE_WITHIN_S = 10.0
PULSE_S = 15.0  # for load balancers, which close what is silent for a minute
_PARAMETERS = ("name", "isolation", "browser", "label.KEY")


class Agents:
    """The agents of one proxy."""

    def __init__(self, settings: Settings, presence: Presence) -> None:
        """Set the settings, and what says whether the appliance is in service."""
        self._settings = settings
        self._presence = presence
        self._agents: dict[str, Agent] = {}  # by id, the oldest first
        self._tools: list[dict[str, Any]] | None = None

    def answer(self, connection: socket.socket, request: Request, token: str, client: str) -> Iterator[bytes]:
        """Return the answer to a request, in pieces; raises RequestError before the first.

        Raises ClientGone, and OSError, if the rest of the request does not come.
        """
        if not self._settings.mcp:
            raise NotFound("This appliance does not serve agents.", "Its operator can set MCP=true.")
        if request.method == "DELETE":
            return iter([self._end(request, token)])
        _check_headers(request)
        message = messages.parse(receive_body(connection, request, self._settings.request_timeout, _BODY_MAX_BYTES))
        if message.method == "initialize":
            return iter([self._welcome(request, message, token, client)])
        agent = self._find(request, token)
        agent.used_at = time.monotonic()
        if message.id is None:
            return iter([self._note(agent, message)])
        if message.method == "tools/call":
            return self._call(agent, message)
        return iter([json_answer(self._reply(message))])

    def by_ticket(self, ticket: str) -> Agent | None:
        """Return the agent whose process has this ticket."""
        return next((agent for agent in self._agents.values() if agent.ticket == ticket), None)

    def end_idle(self) -> None:
        """Close the browsers of agents that have made no call for MCP_IDLE_TIMEOUT."""
        limit_s, now = self._settings.mcp_idle_timeout, time.monotonic()
        for agent in list(self._agents.values()):
            if agent.has_browser and 0 < limit_s <= now - agent.used_at:
                agent.end(f"no call came for {limit_s:.15g} s")

    def end_all(self, reason: str) -> None:
        """Close all browsers."""
        for agent in list(self._agents.values()):
            agent.end(reason)

    # ── The agent ─────────────────────────────────────────────────────────────────────────────────

    def _welcome(self, request: Request, message: Message, token: str, client: str) -> bytes:
        asked = query.parse(request.query)
        asked.pop(access.QUERY_PARAMETER, None)
        others = {name for name in asked if name not in _PARAMETERS and not name.startswith(query.LABEL)}
        if others:
            known = f"They can have {', '.join(_PARAMETERS)}."
            raise BadRequest(f"Agents cannot have the query parameter {min(others)!r}.", known)
        if refusal := self._presence.refusal():
            raise refusal
        browser = handshake.browser_of(asked.get("browser") or self._settings.default_browser_type)
        agent = Agent(token, client, asked, browser)
        self._agents[agent.id] = agent
        self._forget_oldest(token)
        log.info("mcp.agent", client=client, token=token, **asked)
        reply = messages.result(message.id, messages.welcome(message.params))
        return json_answer(reply, [("Mcp-Session-Id", agent.id)])

    def _forget_oldest(self, token: str) -> None:
        own = [agent for agent in self._agents.values() if agent.token == token and not agent.has_browser]
        for agent in own[:-AGENTS_MAX]:
            self._remove(agent, "its token has begun too many others")

    def _end(self, request: Request, token: str) -> bytes:
        self._remove(self._find(request, token), "closed by its agent")
        return GONE

    def _remove(self, agent: Agent, reason: str) -> None:
        self._agents.pop(agent.id, None)
        agent.end(reason)

    def _find(self, request: Request, token: str) -> Agent:
        """Return the agent that a request names: rule 1."""
        given = request.headers.get("mcp-session-id", "")
        if not given:
            raise BadRequest("The request has no Mcp-Session-Id.", "Begin with `initialize`.")
        agent = self._agents.get(given)
        if agent is None or agent.token != token:
            raise NotFound(
                "There is no such MCP session: the appliance was restarted, or the session has ended.",
                "Connect again. Behind a load balancer, each agent must reach the same appliance each time.",
            )
        return agent

    # ── Its messages ──────────────────────────────────────────────────────────────────────────────

    def _note(self, agent: Agent, message: Message) -> bytes:
        if message.method == "notifications/cancelled":
            agent.cancel(message.params.get("requestId"))
        return ACCEPTED

    def _reply(self, message: Message) -> bytes:
        if message.method == "ping":
            return messages.result(message.id, {})
        if message.method == "tools/list":
            return messages.result(message.id, {"tools": self._offered()})
        return messages.error(message.id, messages.METHOD_NOT_FOUND, f"Unknown method {message.method[:100]}.")

    def _call(self, agent: Agent, message: Message) -> Iterator[bytes]:
        name, arguments = message.params.get("name"), message.params.get("arguments") or {}
        known = [tool["name"] for tool in self._offered()]
        if not isinstance(name, str) or name not in known or not isinstance(arguments, dict):
            text = f"Agents have no tool {str(name)[:100]!r} with such arguments; they have {', '.join(known)}."
            return iter([json_answer(messages.error(message.id, messages.INVALID_PARAMS, text))])
        if len(agent.calls) >= CALLS_MAX or message.id in agent.calls:
            raise TooManyConnections(f"The agent has {len(agent.calls)} calls under way.", "Wait for their answers.")
        if objection := agent.take_loss() or self._objection(agent):
            return iter([json_answer(messages.result(message.id, messages.failure(objection)))])
        number, result = agent.begin(name, arguments, self._settings.paths.mcp_socket)
        return _outcome(agent, message.id, number, result)

    def _objection(self, agent: Agent) -> str:
        """Return why an agent can have no browser, "" if it can have one or has one."""
        most = self._settings.mcp_max_browsers
        if agent.has_browser or sum(one.has_browser for one in self._agents.values()) < most:
            return ""
        return (
            f"Agents already have {most} browsers at this appliance, the most that they may have. Retry later; the "
            "operator can raise MCP_MAX_BROWSERS."
        )

    def _offered(self) -> list[dict[str, Any]]:
        """Return the tools, which are asked for once."""
        if self._tools is None:
            self._tools = Process(self._settings.paths.mcp_socket, {"list": True}).listing()
        return self._tools


def _outcome(agent: Agent, id_: str | int | None, number: int, result: AsyncResult[bytes]) -> Iterator[bytes]:
    """Yield the answer to a call: whole if it comes soon, else as a stream that keeps the connection open.

    The events of a stream may have a bound that whole answers have not: 1 MiB in the Python SDK.
    """
    agent.calls[id_] = number
    wrap: Callable[[bytes], bytes] = json_answer
    try:
        if not _is_there(result, WHOLE_WITHIN_S):
            wrap = event
            yield STREAM
            while not _is_there(result, PULSE_S):
                yield PULSE
        yield wrap(messages.result(id_, result.get() or b"null"))
    except ProcessEnded:
        yield wrap(messages.result(id_, messages.failure(agent.take_loss() or "The browser was closed meanwhile.")))
    finally:
        del agent.calls[id_]
        agent.used_at = time.monotonic()


def _is_there(result: AsyncResult[bytes], within_s: float) -> bool:
    result.wait(within_s)
    return result.ready()


def _check_headers(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequest("The request's Content-Type is not application/json.", "Connect with an MCP client.")
    accepted = request.headers.get("accept", "*/*").lower()
    if "*/*" not in accepted and not ("application/json" in accepted and "text/event-stream" in accepted):
        raise NotAcceptable("An MCP client accepts application/json and text/event-stream.")
    version = request.headers.get("mcp-protocol-version", messages.VERSIONS[0])
    if version not in messages.VERSIONS:
        raise BadRequest(
            f"This server does not speak version {version[:20]!r} of MCP.", f"It speaks {', '.join(messages.VERSIONS)}."
        )
