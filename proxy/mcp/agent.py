"""One agent: an MCP session, and the browser that it has from its first call to the end of that."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from gevent.event import AsyncResult

from appliance import logs
from proxy.mcp.process import Process

log = logs.get_logger()

BROWSERS = "browsers.sock"  # in the folder where processes are started: RunDir.mcp_browsers
_NO_NEWS = ("closed", "client disconnected")  # how a relay ends whose client's process ended
_UNEXPLAINED = "the process that drove it ended: `applctl logs mcp` on the appliance may say why"


class Agent:
    """An agent, which has at most one browser at a time.

    It is told when a browser has gone, and why: its pending calls fail with the reason, or else its next call. The
    call after that opens a new browser.
    """

    def __init__(self, token: str, client: str, asked: Mapping[str, str], browser: str) -> None:
        """Set the name of its token, its address, and what it asked for in its URL; `browser` is its browser's name."""
        self.id = secrets.token_urlsafe(32)
        self.ticket = secrets.token_urlsafe(32)  # by which its process gets a browser
        self.token, self.client = token, client
        self.calls: dict[str | int | None, int] = {}  # the process's numbers of those that are under way
        self.used_at = time.monotonic()
        self.end_browser: Callable[[str], None] = _nothing  # set while it has one
        self._target = f"/?{urlencode(asked)}"
        self._browser = browser
        self._process: Process | None = None
        self._reason = ""  # why its last browser ended, as the grid says it
        self._loss = ""  # what it is still to be told

    @property
    def has_browser(self) -> bool:
        """Whether it has a browser, or waits for one."""
        return self._process is not None

    def begin(self, name: str, arguments: dict[str, Any], path: Path) -> tuple[int, AsyncResult[bytes]]:
        """Run a tool in its browser, as `Process.begin` does; a process is to be had at `path`.

        Raises AgentsNotServed.
        """
        process = self._process or self._open(path)
        return process.begin(name, arguments)

    def take_loss(self) -> str:
        """Return what is to be said of a browser that has gone, once; "" if there is nothing to say."""
        loss, self._loss = self._loss, ""
        return loss

    def cancel(self, number: str | int | None) -> None:
        """Cancel a call."""
        if self._process and number in self.calls:
            self._process.cancel(self.calls[number])

    def browser_ended(self, reason: str) -> None:
        """Note why the grid ended the browser's session, if it says more than that nobody uses it."""
        self.end_browser = _nothing
        if reason not in _NO_NEWS:
            self._reason = reason

    def end(self, reason: str) -> None:
        """Close its browser, if it has one."""
        if self._process:
            log.info("mcp.browser_closed", client=self.client, token=self.token, reason=reason)
            self._reason = reason
            self.end_browser(reason)
            self._process.end()

    def _open(self, path: Path) -> Process:
        order = {
            "endpoint": f"ws+unix:{BROWSERS}:{self._target}",
            "headers": {"Authorization": f"Bearer {self.ticket}"},
            "browser": self._browser,
        }
        self._reason = ""
        self._process = process = Process(path, order, self._ended)
        return process

    def _ended(self, is_wished: bool) -> None:
        self._process = None
        if is_wished:
            self.end_browser("closed by its agent")  # unless the session has ended by itself, which comes to the same
        else:
            why = self._reason or _UNEXPLAINED
            self._loss = f"Your browser has gone: {why}. The next call opens a new one."


def _nothing(_: str) -> None:
    """End no browser."""
