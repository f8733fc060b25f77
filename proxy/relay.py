"""The relay: moves bytes between a client and a worker until either side ends.

No payload is looked at, and no frame is rebuilt. How the bytes move is in `proxy/pump.py`; here is when they start,
why they end, and the last words.

Rules
1. Whatever ends a relay is one ending, with a code and a reason. It is set once: what comes first counts.
2. The client reads the reason in the Close frame. When the worker's side ends by itself, the worker knows why and says
   so by Redis a moment later. Until then there is no ending; it is waited for, while the slot is still taken.
3. A Close frame that the driver sends unasked is held back meanwhile, for it says less ("Browser closed"). It is passed
   on only if the worker says nothing.
4. A driver closes for a message that is too large with a code and no reason: the client's Close frame names the limit.
5. A session's own browser ends without its worker: the driver says why, with a code that says so, or that a CDP client
   has closed it. A relay of the inner door leaves that Close frame as it is for the session's own proxy.
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from gevent.event import Event

from appliance import logs
from appliance.grid.story import EndedBy, Traffic
from proxy import tcp
from proxy.frames import PING_FRAME, FrameFollower, close_frame, read_close
from proxy.pump import Pump

log = logs.get_logger()

SIDE_ENDED = 0  # no Close frame of ours: one side has sent its own, or is gone
NORMAL, GOING_AWAY, TOO_LARGE, INTERNAL_ERROR = 1000, 1001, 1009, 1011  # RFC 6455, section 7.4.1
WHOLE_TRUTH = 4000  # workers/preload/browsers.js, as NORMAL

# The driver sets no `maxPayload` for what it receives, and this is that of its WebSocketServer (package ws,
# lib/websocket-server.js).
MESSAGE_MAX_MIB = 100
WORD_TIMEOUT_S = 1.0  # a worker speaks within 0.3 s of its driver's end; one that was killed does not


class Ending(NamedTuple):
    """Why a relay ended: the code of our Close frame, or SIDE_ENDED, the reason, and who caused it."""

    code: int
    reason: str
    by: EndedBy


class Relay:
    """One session's bytes, both ways.

    `run` is the session: it returns when either side ends, when the client says goodbye, or when `end` is called.
    `finish` is what follows when the slot is free already: the last bytes, the Close frame.
    """

    def __init__(
        self,
        client: socket.socket,
        worker: socket.socket,
        from_client: bytes,
        from_worker: bytes,
        word_timeout_s: float = WORD_TIMEOUT_S,
    ) -> None:
        """Set both sockets, the bytes that came with the handshakes, and how long to wait for a worker's word.

        The client's bytes are sent to the worker; the client has the worker's already.
        """
        self._word_timeout_s = word_timeout_s
        self._client, self._worker = client, worker
        self._from_client = from_client
        self._said_by_client, self._said_by_worker = FrameFollower(), FrameFollower()
        self._said_by_client.feed(from_client)
        self._said_by_worker.feed(from_worker)
        self._early = len(from_client), len(from_worker)
        self._over, self._either_ended, self._explained = Event(), Event(), Event()
        self._ending: Ending | None = None
        self._closed = False
        self._held = b""  # the Close frame that the driver sent unasked
        self._to_worker = Pump(client, worker, self._client_ended, self._hear_client)
        self._to_client = Pump(worker, client, self._worker_ended, self._hear_worker)

    @property
    def end_reason(self) -> str:
        """Why it ended, "" while it has not."""
        return self._ending.reason if self._ending else ""

    @property
    def ended_by(self) -> EndedBy:
        """Who caused its end; CLIENT while it has not ended."""
        return self._ending.by if self._ending else EndedBy.CLIENT

    @property
    def traffic(self) -> Traffic:
        """What it has moved so far, and what came with the handshakes."""
        from_client, to_client = self._early
        return Traffic(
            self._to_worker.bytes_moved + from_client,
            self._to_client.bytes_moved + to_client,
            self._said_by_client.messages,
            self._said_by_worker.messages,
        )

    @property
    def bytes_relayed(self) -> int:
        """Bytes moved so far, both ways together."""
        return self._to_worker.bytes_moved + self._to_client.bytes_moved

    @property
    def bytes_to_client(self) -> int:
        """Bytes that the worker has sent so far."""
        return self._to_client.bytes_moved

    @property
    def bytes_from_client(self) -> int:
        """Bytes that the client has sent so far."""
        return self._to_worker.bytes_moved

    @property
    def message_bytes(self) -> int:
        """Bytes moved so far, both ways, without those of pings, pongs and Close frames.

        The frame of a message may still be under way; of a control frame, all counts once it has begun.
        """
        return self.bytes_relayed - self._said_by_client.control_bytes - self._said_by_worker.control_bytes

    @property
    def client_is_unreachable(self) -> bool:
        """Whether the client's system, not only the client, has stopped answering."""
        return not self._over.is_set() and tcp.is_unreachable(self._client)

    def run(self, if_worker_is_lost: str, other_side: str = "the driver", lost_by: EndedBy = EndedBy.WORKER) -> None:
        """Relay until the session is over.

        `if_worker_is_lost` is the reason if the worker's side ends and says nothing, which `lost_by` causes;
        `other_side` names that side in the reason if it sends a Close frame of its own.
        """
        try:
            self._worker.sendall(self._from_client)
            self._to_worker.start()
            self._to_client.start()
            self._over.wait()
        except OSError:
            self._worker_ended()
        finally:
            if not self._is_goodbye:
                self.close()
        if not self._ending:
            self._explain(if_worker_is_lost, other_side, lost_by)

    def _explain(self, if_worker_is_lost: str, other_side: str, lost_by: EndedBy) -> None:
        """Find out why the worker's side has ended by itself: rules 2 to 5."""
        code, said = read_close(self._held)
        if code == TOO_LARGE:
            reason = f"a message was larger than the {MESSAGE_MAX_MIB} MiB that a driver takes"
            self._end(TOO_LARGE, reason, EndedBy.LIMIT)
        elif code in (NORMAL, WHOLE_TRUTH):
            ours = NORMAL if code == NORMAL else INTERNAL_ERROR
            by = EndedBy.CLIENT if code == NORMAL else EndedBy.BROWSER
            self._end(ours if self._word_timeout_s else SIDE_ENDED, said, by)
        elif not self._explained.wait(self._word_timeout_s):
            if code:
                self._end(SIDE_ENDED, f"closed by {other_side}: {said or code}", EndedBy.DRIVER)
            else:
                self._end(INTERNAL_ERROR, if_worker_is_lost, lost_by)

    def end(self, reason: str, by: EndedBy = EndedBy.APPLIANCE) -> None:
        """End the session for a reason of ours, which each side reads that is not in the midst of a frame."""
        self._end(GOING_AWAY, reason, by)

    def _end(self, code: int, reason: str, by: EndedBy) -> None:
        """Set the ending, unless it is set: rule 1."""
        self._ending = self._ending or Ending(code, reason, by)
        self._over.set()
        self._explained.set()

    def ping(self) -> bool:
        """Ping the client, unless the worker is in the midst of a frame; return whether the client is asked.

        It is also asked if it takes no more bytes: a client that lives may come to read them.
        """
        if self._over.is_set() or not (self._said_by_worker.at_boundary or self._to_client.rest):
            return False
        if self._said_by_worker.at_boundary:
            self._to_client.insert(PING_FRAME)
        return True

    def finish(self) -> None:
        """Send the client what is left for it, the Close frame last, and wait a moment for its own end.

        The slot is free by now, so a client that does not read delays nobody.
        """
        if self._is_goodbye:
            self._either_ended.wait(tcp.FAREWELL_TIMEOUT_S)
        self.close()
        farewell = self._held
        may_close = self._held or (self._said_by_worker.at_boundary and not self._said_by_worker.close_seen)
        if may_close and self._ending and self._ending.code:
            farewell = close_frame(self._ending.code, self._ending.reason)
        tcp.say_goodbye(self._client, self._to_client.rest + farewell)

    @property
    def _is_goodbye(self) -> bool:
        """Whether the client has sent its Close frame, which the worker is still to answer."""
        return self._said_by_client.close_seen

    def close(self) -> None:
        """Move no more bytes, and close the worker's connection; it reads our reason, or an answer to its own Close.

        The client's socket is the handler's.
        """
        if not self._closed:
            self._closed = True
            ours = self._ending and self._ending.code and self._ending[:2]
            code, reason = ours or read_close(self._held)
            if code and self._said_by_client.at_boundary and not self._is_goodbye:
                self._to_worker.insert(close_frame(code, reason, masked=True))
            self._to_worker.close()
            self._to_client.close()
            self._worker.close()

    def _hear_client(self, data: memoryview) -> None:
        self._said_by_client.feed(data)
        if self._is_goodbye:
            self._end(SIDE_ENDED, "closed", EndedBy.CLIENT)

    def _hear_worker(self, data: memoryview) -> int | None:
        """Follow what the worker says; return how much of it may pass, if that is not all (rule 3)."""
        said, had_closed, already_held = self._said_by_worker, self._said_by_worker.close_seen, bool(self._held)
        said.feed(data)
        if not already_held and (not said.close_seen or had_closed or said.close_at < 0 or self._is_goodbye):
            return None
        passing = 0 if already_held else said.close_at
        self._held += data[passing:]
        if said.at_boundary:
            self._over.set()
        return passing

    def _client_ended(self) -> None:
        self._either_ended.set()
        self._end(SIDE_ENDED, "client disconnected", EndedBy.NETWORK)

    def _worker_ended(self) -> None:
        """Leave the ending open if the client does not know why the worker's side has ended: rule 2."""
        self._either_ended.set()
        self._over.set()
        if self._said_by_worker.close_seen and not self._held:
            self._end(SIDE_ENDED, "closed", EndedBy.CLIENT)
