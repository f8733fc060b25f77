"""One session of a client: its claim, its grant, and what ends it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from appliance.deadline import Deadline
from appliance.errors import ClientGone
from appliance.grid.story import NO_TRAFFIC, EndedBy, Traffic
from appliance.grid.values import Grant, SessionRequest
from appliance.request_errors import SessionKilled

EndRelay = Callable[[str, EndedBy], None]


class SessionStatus(StrEnum):
    """How far a session has come."""

    WAITING = "waiting"  # for a slot
    DIALLING = "dialling"  # it has a slot, and its worker is not reached yet
    RELAYED = "relayed"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class End:
    """Why a session ends, and who causes it.

    The client reads `reason` if it is relayed. If it waits, `answer` is raised; without an answer it goes on waiting,
    and ends when it is relayed. With a `grant`, the end counts for that grant only.
    """

    reason: str
    by: EndedBy
    answer: Exception | None = None
    grant: Grant | None = None


def hung_up() -> End:
    """Return the end of a session whose client hung up."""
    return End("client disconnected", EndedBy.CLIENT, ClientGone())


class Kill(StrEnum):
    """By whose order a session ends, as its client reads it."""

    BY_OPERATOR = "session closed by operator"
    BY_OWNER = "session closed by its owner"


def killed(reason: str) -> End:
    """Return the end of a session by somebody's order."""
    return End(reason, EndedBy.OWNER if reason == Kill.BY_OWNER else EndedBy.OPERATOR, SessionKilled(reason))


class Relayed:
    """What is relayed here, or will be: what ends it, and what it has moved."""

    def __init__(self) -> None:
        """Begin without a relay."""
        self.reported = NO_TRAFFIC  # what Redis knows that it has moved
        self._end: End | None = None
        self._end_relay: EndRelay | None = None
        self._count: Callable[[], Traffic] = lambda: NO_TRAFFIC

    @property
    def traffic(self) -> Traffic:
        """What it has moved so far; a session's without that of its visits."""
        return self._count()


class Session(Relayed):
    """One session of a client, from its claim to its release."""

    def __init__(self, request: SessionRequest, deadline: Deadline) -> None:
        """Set the request, and until when the client waits for a slot."""
        super().__init__()
        self.id = secrets.token_hex(8)
        self.request = request
        self.deadline = deadline
        self.status = SessionStatus.WAITING
        self.grant: Grant | None = None
        self.has_claimed = False  # Redis has answered a claim of it, and may have lost it since
        self.progress: list[str] = []  # what was done for it while it waited, in sentences for its client
        self.end_reason, self.ended_by = "client disconnected", EndedBy.NETWORK
        self.is_kept = False  # it has no client, and waits for the next one
        self.tried: set[str] = set()  # workers that failed it; "appliance/" if the path to it did
        self.failures: list[tuple[str, str]] = []  # of its dials: the appliance, and the error
        self.unknown_until: Deadline | None = None  # while Redis knows neither it nor its worker
        self._woken = threading.Event()

    def wake(self) -> None:
        """Wake the session: its claim may have been granted."""
        self._woken.set()

    def wait(self, longest_s: float) -> None:
        """Wait to be woken. Raises the answer if the session has ended."""
        self._woken.wait(longest_s)
        self._woken.clear()
        self.raise_if_ended()

    def raise_if_ended(self) -> None:
        """Raise the answer if the session has ended."""
        if self._end and self._end.answer:
            raise self._end.answer

    def dial(self, grant: Grant) -> None:
        """Set the granted slot."""
        self.status, self.grant = SessionStatus.DIALLING, grant

    def note_progress(self, sentence: str) -> None:
        """Note what is being done for the session while it waits."""
        if sentence and sentence not in self.progress:
            self.progress.append(sentence)

    def wait_again(self) -> Grant | None:
        """Drop and return the grant of a worker that could not be reached."""
        grant, self.grant, self.unknown_until = self.grant, None, None
        self.status = SessionStatus.WAITING
        return grant

    def relay(self, end_relay: EndRelay, count: Callable[[], Traffic] = lambda: NO_TRAFFIC) -> None:
        """Set what ends the relay, and what counts its traffic. A session that has already ended ends it at once."""
        self.status, self._end_relay, self._count = SessionStatus.RELAYED, end_relay, count
        if self._end and self._end.grant in (None, self.grant):
            end_relay(self._end.reason, self._end.by)

    def finish(self, reason: str, by: EndedBy) -> None:
        """Set how the relay ended."""
        self.status = SessionStatus.OVER
        self.end_reason, self.ended_by = reason, by

    def fail(self, error: Exception) -> None:
        """Set how it ended before it was relayed: by the answer that its client gets."""
        if self.status is SessionStatus.OVER:
            return
        if self._end and self._end.answer is error:
            self.finish(self._end.reason, self._end.by)
        elif isinstance(error, ClientGone):
            self.finish("client disconnected", EndedBy.NETWORK)
        else:
            self.finish(str(error), EndedBy.GRID)

    def end(self, end: End) -> None:
        """End the session: now if it is relayed or `end` has an answer, else as soon as it is relayed.

        The first end counts, unless it is that of an earlier grant or has no answer.
        """
        if self._end is None or self._end.grant or not self._end.answer:
            self._end = end
        if self.status is SessionStatus.RELAYED and self._end_relay:
            self._end_relay(end.reason, end.by)
        self._woken.set()

    def lose_worker(self, worker_id: str, reason: str, by: EndedBy = EndedBy.WORKER) -> None:
        """End the session because its worker is gone; `by` says what caused that.

        A message about an earlier grant's worker is ignored: the session may have found another since.
        """
        if self.grant and self.grant.worker_id == worker_id:
            self.end(End(reason, by, grant=self.grant))


class Visit(Relayed):
    """One client of a kept session, which another proxy may hold, from before its worker is dialled."""

    def __init__(self, grant: Grant) -> None:
        """Set the session's grant."""
        super().__init__()
        self.id = secrets.token_hex(4)
        self.grant = grant

    def relay(self, end_relay: EndRelay, count: Callable[[], Traffic] = lambda: NO_TRAFFIC) -> None:
        """Set what ends the relay, and what counts its traffic. A visit that has already ended ends it at once."""
        self._end_relay, self._count = end_relay, count
        if self._end:
            end_relay(self._end.reason, self._end.by)

    def end(self, reason: str, by: EndedBy = EndedBy.APPLIANCE) -> None:
        """End the visit: now if it is relayed, else as soon as it is."""
        self._end = self._end or End(reason, by)
        if self._end_relay:
            self._end_relay(reason, by)
