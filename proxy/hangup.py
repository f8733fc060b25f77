"""Notices a client that hangs up while it waits for its slot."""

from __future__ import annotations

import socket
from typing import Any

import gevent

from appliance.grid.session import Session, hung_up

_READ = 1  # libev's EV_READ


class HangupWatch:
    """Watches a client's socket while its session waits; costs nothing until it is started."""

    def __init__(self, client: socket.socket) -> None:
        """Set the client's socket; nothing is watched yet."""
        self._client = client
        self._watcher: Any = None
        self._session: Session | None = None

    def start(self, session: Session) -> None:
        """Watch from now on, and end this session when the client hangs up."""
        if self._watcher is None:
            self._session = session
            self._watcher = gevent.get_hub().loop.io(self._client.fileno(), _READ)
            self._watcher.start(self._look)

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def _look(self) -> None:
        # It hung up, or it speaks before it was answered, which breaks the protocol (RFC 6455, section
        # 4.1) and would hide a later end. Playwright's clients do not.
        self._watcher.stop()
        if self._session:
            self._session.end(hung_up())
