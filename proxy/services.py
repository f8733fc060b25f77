"""What a connection needs of its proxy."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from appliance.grid.grid import Grid
from appliance.grid.reach import Reach
from appliance.grid.sessions import Sessions
from appliance.grid.token_table import Principal
from appliance.grid.values import Grant
from appliance.settings.config import Settings
from proxy.access import Access
from proxy.admission import Connections, Unheard
from proxy.dial import Connection
from proxy.handshake import Headers
from proxy.limits import Watchdog
from proxy.metrics.metrics import Metrics
from proxy.presence import Presence
from proxy.request import Request
from proxy.tls import Tls


class Door(Protocol):
    """The inner door, by which other appliances come: `InnerDoor` of proxy/door/answering.py."""

    def __len__(self) -> int:
        """Return the number of sessions that pass it."""

    def welcome(self, connection: socket.socket, request: Request) -> Callable[[], None] | None:
        """Return what serves another appliance's session, None if it has none."""


class Agents(Protocol):
    """The agents, which ask at /mcp: `Agents` of proxy/mcp/agents.py."""

    def answer(self, connection: socket.socket, request: Request, token: str, client: str) -> Iterator[bytes]:
        """Return the answer to a request, in pieces; raises RequestError before the first.

        Raises ClientGone, and OSError, if the rest of the request does not come.
        """


class Api(Protocol):
    """The REST API: `Api` of proxy/api/application.py."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request below /api, as a WSGI application."""


class Dashboard(Protocol):
    """The dashboard: `Dashboard` of proxy/dashboard/pages.py."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request below /dashboard, as a WSGI application."""

    def serve_viewer(self, handler: Any, who: Principal, request: Request) -> None:
        """Serve who looks at a session; raises RequestError before it is answered."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the connections of one proxy share."""

    settings: Settings
    current: Callable[[], Settings]  # with the pools as they are now
    grid: Grid
    sessions: Sessions
    reach: Reach
    presence: Presence
    access: Access
    connections: Connections
    visits: Connections
    unheard: Unheard
    watchdog: Watchdog
    metrics: Metrics
    tls: Tls | None
    door: Door
    agents: Agents
    api: Api
    dashboard: Dashboard
    dial: Callable[[Headers, Grant], Connection]
