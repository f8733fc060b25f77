"""One session of a client: its claim, its grant, and what ends it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from appliance.deadline import Deadline
from appliance.errors import ClientGone, SessionKilled
from appliance.grid.values import Grant, SessionRequest


class SessionStatus(StrEnum):
    """How far a session has come."""

    WAITING = "waiting"  # for a slot
    DIALLING = "dialling"  # it has a slot, and its worker is not reached yet
    RELAYED = "relayed"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class End:
    """Why a session is to end.

    `reason` is what a client reads that is relayed, `answer` is raised for one that waits: without one it goes on
    waiting, and ends when it is relayed. With a `grant` it is only that grant's end.
    """

    reason: str
    answer: Exception | None = None
    grant: Grant | None = None


def hung_up() -> End:
    """Return the end of a session whose client hung up."""
    return End("client disconnected", ClientGone())


def killed(reason: str) -> End:
    """Return the end of a session by an operator's order."""
    return End(reason, SessionKilled(reason))


class Session:
    """One session of a client, from its claim to its release."""

    def __init__(self, request: SessionRequest, deadline: Deadline) -> None:
        """Set the request, and until when the client waits for its slot."""
        self.id = secrets.token_hex(8)
        self.request = request
        self.deadline = deadline
        self.status = SessionStatus.WAITING
        self.grant: Grant | None = None
        self.end_reason = "client disconnected"
        self.bytes_relayed = 0
        self.tried: set[str] = set()  # workers that failed it; appliances, with a slash, whose path did
        self.failures: list[tuple[str, str]] = []  # of its dials: the appliance, and what is said of it
        self.unknown_since: float | None = None  # monotonic: when Redis first knew neither it nor its worker
        self._woken = threading.Event()
        self._end: End | None = None
        self._end_relay: Callable[[str], None] | None = None

    def wake(self) -> None:
        """Say that the claim may have been granted."""
        self._woken.set()

    def wait(self, longest_s: float) -> None:
        """Wait to be woken; raises the answer of an end that has come."""
        self._woken.wait(longest_s)
        self._woken.clear()
        self.raise_if_ended()

    def raise_if_ended(self) -> None:
        """Raise the answer of an end that has come."""
        if self._end and self._end.answer:
            raise self._end.answer

    def dial(self, grant: Grant) -> None:
        """Note the slot that the session has."""
        self.status, self.grant = SessionStatus.DIALLING, grant

    def wait_again(self) -> Grant | None:
        """Note that the worker was not reached; returns the grant, which is the session's no more."""
        grant, self.grant, self.unknown_since = self.grant, None, None
        self.status = SessionStatus.WAITING
        return grant

    def relay(self, end_relay: Callable[[str], None]) -> None:
        """Note what ends the relay; it is called at once if the end has come before."""
        self.status, self._end_relay = SessionStatus.RELAYED, end_relay
        if self._end and self._end.grant in (None, self.grant):
            end_relay(self._end.reason)

    def finish(self, reason: str, bytes_relayed: int) -> None:
        """Note how the relay ended."""
        self.status = SessionStatus.OVER
        self.end_reason, self.bytes_relayed = reason, bytes_relayed

    def end(self, end: End) -> None:
        """End the session: now if it is relayed or `end` has an answer, else as soon as it is relayed.

        The first reason counts. Only one of an earlier grant, and one without an answer, gives way.
        """
        if self._end is None or self._end.grant or not self._end.answer:
            self._end = end
        if self.status is SessionStatus.RELAYED and self._end_relay:
            self._end_relay(end.reason)
        self._woken.set()

    def lose_worker(self, worker_id: str, reason: str) -> None:
        """End the session because its worker is gone.

        While that is only dialled, the session may find another; then the message may come late, and is of none.
        """
        if self.grant and self.grant.worker_id == worker_id:
            self.end(End(reason, grant=self.grant))
