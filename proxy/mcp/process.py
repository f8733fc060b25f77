"""The process that drives one agent's browser: workers/mcp/session.js says what is said to it, and how it answers.

It is not trusted: an answer that is not as agreed, or too long, ends it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import gevent
from gevent.event import AsyncResult

from appliance import logs
from appliance.request_errors import AgentsNotServed
from proxy import tcp
from proxy.dial import connect

log = logs.get_logger()

FRAME_MAX_BYTES = 16 * 1024 * 1024
_HEAD_MAX_BYTES = 40
_CLOSED = b"closed\n"
_LIST_TIMEOUT_S = 20.0  # a machine that is busy starts it in a few seconds


class ProcessEnded(Exception):
    """The process is gone, and with it the browser."""


class Process:
    """A process, from its start to its end."""

    def __init__(self, path: Path, order: dict[str, Any], on_end: Callable[[bool], None] = lambda _: None) -> None:
        """Start it; `order` is its first line. `on_end` is called when it has ended: True if the agent wished it.

        Raises AgentsNotServed.
        """
        try:
            self._socket = connect(path)
        except OSError as error:
            log.warning("mcp.not_reached", socket=str(path), error=str(error))
            raise AgentsNotServed(f"The process that serves agents does not answer: {error.strerror}.") from error
        self._on_end = on_end
        self._numbers = itertools.count(1)
        self._awaited: dict[int, AsyncResult[bytes]] = {0: AsyncResult()}
        self._has_ended = False
        gevent.spawn(self._read)
        self._say(order)

    def begin(self, name: str, arguments: dict[str, Any]) -> tuple[int, AsyncResult[bytes]]:
        """Run a tool; return the number by which `cancel` knows it, and what will have its result, or ProcessEnded."""
        number = next(self._numbers)
        answer: AsyncResult[bytes] = AsyncResult()
        self._awaited[number] = answer
        self._say({"call": number, "name": name, "arguments": arguments})
        if self._has_ended:
            answer.set_exception(ProcessEnded())
        return number, answer

    def listing(self) -> list[dict[str, Any]]:
        """Return what a process that was asked for the list of tools says; raises AgentsNotServed."""
        with suppress(ProcessEnded, ValueError, gevent.Timeout):
            found: list[dict[str, Any]] = json.loads(self._awaited[0].get(timeout=_LIST_TIMEOUT_S) or b"")
            return found
        self.end()
        raise AgentsNotServed("The process that serves agents does not say which tools there are.")

    def cancel(self, number: int) -> None:
        """Tell it that nobody waits for a call any more."""
        self._say({"cancel": number})

    def end(self) -> None:
        """End it at once, and so its browser's session."""
        tcp.cut(self._socket)

    def _say(self, order: dict[str, Any]) -> None:
        with suppress(OSError):  # it has ended, which the reader notices
            self._socket.sendall(json.dumps(order).encode() + b"\n")

    def _read(self) -> None:
        is_wished = False
        try:
            with self._socket.makefile("rb") as file:
                while frame := _frame(file):
                    number, result = frame
                    if answer := self._awaited.pop(number, None):
                        answer.set(result)
                is_wished = frame is None
        except (OSError, ValueError) as error:
            log.warning("mcp.process_lost", error=str(error))
        finally:
            self._has_ended = True
            self._on_end(is_wished)
            self._socket.close()
            for answer in self._awaited.values():
                answer.set_exception(ProcessEnded())


def _frame(file: IO[bytes]) -> tuple[int, bytes] | tuple[()] | None:
    """Read the next frame: its number and content; None if the process says that it ends, () if it just ended."""
    head = file.readline(_HEAD_MAX_BYTES)
    if head in (b"", _CLOSED):
        return None if head else ()
    number, length = map(int, head.split())
    if not 0 <= length <= FRAME_MAX_BYTES or len(content := file.read(length)) < length:
        raise ValueError(f"a frame of {length} bytes, of which not all came")
    return number, content
