"""Sessions that clients may reconnect to (`?session=NAME&keep=300`): their browser outlives its clients.

Such a session has two connections to its driver.
- The holder is that of the proxy that has the slot: while it lasts, the browser lives.
- A visit is a client's, through any proxy of the grid. A session without one is kept: it waits for the next.

The driver lets one client in at a time, the newest, and ends the session if none has come in time
(workers/preload/kept.js). It says on the holder whether a client is there, and why the browser has ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import gevent
from gevent.event import Event

from appliance import logs
from appliance.grid.story import EndedBy
from appliance.request_errors import SessionUnreachable
from proxy import tcp
from proxy.dial import Connection
from proxy.frames import OPCODE_CLOSE, OPCODE_TEXT, close_frame, split_small
from proxy.relay import GOING_AWAY, NORMAL, WHOLE_TRUTH, WORD_TIMEOUT_S

log = logs.get_logger()

_CHUNK = 4096
_PROMISE = b"\r\nKept: yes\r\n"


class Holder:
    """The connection that holds the browser of a session."""

    def __init__(
        self, connection: Connection, if_lost: str, other_side: str, lost_by: EndedBy = EndedBy.WORKER
    ) -> None:
        """Set the connection, whose handshake is done.

        `if_lost` is the reason if the driver's side ends and says nothing, which `lost_by` causes; `other_side` names
        that side in the reason if what it says is not about the browser.
        Raises SessionUnreachable if the driver is too old.
        """
        if _PROMISE not in connection.answer.head:
            raise SessionUnreachable("The worker runs an earlier version of the appliance, which keeps no sessions.")
        self.end_reason, self.ended_by = "", lost_by
        self.bytes_relayed = 0  # of all visits that are over
        self._socket = connection.socket
        self._received = connection.answer.rest
        self._if_lost, self._other_side, self._lost_by = if_lost, other_side, lost_by
        self._over, self._explained = Event(), Event()
        self._note: Callable[[bool], None] = lambda is_kept: None
        self._tell: Callable[[str, EndedBy], None] = lambda reason, by: None

    def on_change(self, note: Callable[[bool], None]) -> None:
        """Call a function with whether the session is kept, whenever that changes."""
        self._note = note

    def on_end(self, tell: Callable[[str, EndedBy], None]) -> None:
        """Call a function with the reason, and who causes the end, when the session is ended from this side."""
        self._tell = tell

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow what the driver says while the block lasts."""
        following = gevent.spawn(self._follow)
        try:
            yield
        finally:
            following.kill()

    def wait(self) -> None:
        """Wait until the session has ended."""
        self._over.wait()

    def end(self, reason: str, by: EndedBy = EndedBy.APPLIANCE) -> None:
        """End the session for a reason of ours; its client reads it."""
        if self._explained.is_set():
            return
        self._explain(reason, by)
        self._tell(reason, by)
        with suppress(OSError):  # the driver has ended already
            self._socket.sendall(close_frame(GOING_AWAY, reason, masked=True))
        tcp.cut(self._socket)

    def _explain(self, reason: str, by: EndedBy) -> None:
        if not self.end_reason:
            self.end_reason, self.ended_by = reason, by
        self._explained.set()

    def _follow(self) -> None:
        """Read up to the end of the connection; if nothing says why it ended, wait a moment for the worker's word."""
        try:
            while self._read_frames() and (data := self._socket.recv(_CHUNK)):
                self._received += data
        except OSError as error:
            log.debug("holder.lost", error=str(error))
        finally:
            if not self._explained.wait(WORD_TIMEOUT_S):
                self._explain(self._if_lost, self._lost_by)
            self._over.set()

    def _read_frames(self) -> bool:
        """Read what has been received; return whether more may come."""
        frames, self._received = split_small(self._received)
        for opcode, payload in frames:
            if opcode == OPCODE_CLOSE:
                self._read_close(int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace"))
                return False
            if opcode == OPCODE_TEXT:
                said = json.loads(payload)
                self.bytes_relayed += said["bytes"]
                self._note(said["kept"])
        return True

    def _read_close(self, code: int, said: str) -> None:
        """Believe what is said of the browser; anything else says less than the worker will."""
        if code == WHOLE_TRUTH:
            self._explain(said, EndedBy.BROWSER)
        elif code == NORMAL:
            self._explain(said, EndedBy.CLIENT)
        elif code:
            self._if_lost, self._lost_by = f"closed by {self._other_side}: {said or code}", EndedBy.DRIVER
