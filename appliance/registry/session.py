"""One session of a client: its claim, its grant, and what ends it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

from appliance.errors import ClientGone, RequestError, SessionKilled
from appliance.models import Grant, SessionRequest


class Session:
    """One session of a client, from its claim to its release."""

    def __init__(self, request: SessionRequest, deadline: float) -> None:
        """Take the request and the monotonic time until which the client waits for its slot."""
        self.id = secrets.token_hex(8)
        self.request = request
        self.deadline = deadline
        self.grant: Grant | None = None
        self.end_reason = "client disconnected"
        self.bytes_relayed = 0
        self.tried: set[str] = set()  # workers that failed it; appliances, with a slash, whose path did
        self.failures: list[tuple[str, str]] = []  # of its dials: the appliance, and what is said of it
        self._woken = threading.Event()
        self._client_gone = False
        self._refusal: RequestError | None = None
        self._on_end: Callable[[str], None] | None = None
        self._told_to_end: str | None = None
        self._lost: tuple[Grant, str] | None = None  # the grant whose worker is gone, and why
        self.unknown_since: float | None = None  # monotonic: when the registry first knew neither it nor its worker

    def wake(self) -> None:
        """Say that the claim may have been granted."""
        self._woken.set()

    def abandon(self) -> None:
        """Say that the client hung up: its claim ends with ClientGone."""
        self._client_gone = True
        self._woken.set()

    def refuse(self, error: RequestError) -> None:
        """Let the claim, if it still waits, end with an error."""
        self._refusal = error
        self._woken.set()

    def wait(self, longest_s: float) -> None:
        """Wait to be woken; raises ClientGone if the client hung up, or the error of `refuse`."""
        self._woken.wait(longest_s)
        self._woken.clear()
        self.raise_if_over()

    def raise_if_over(self) -> None:
        """Raise ClientGone if the client hung up, or the error of `refuse`."""
        if self._client_gone:
            raise ClientGone
        if self._refusal:
            raise self._refusal

    def kill(self, reason: str) -> None:
        """End the session by an operator's order, wherever it is."""
        if self.grant:
            self.end(reason)
        else:
            self.refuse(SessionKilled(reason))

    def on_end(self, end: Callable[[str], None]) -> None:
        """Set what ends the session when the grid says so; called at once if it has already."""
        self._on_end = end
        if self._told_to_end is not None:
            end(self._told_to_end)
        elif self._lost and self._lost[0] is self.grant:
            end(self._lost[1])

    def lose_worker(self, worker_id: str, reason: str) -> None:
        """End the session because its worker is gone.

        While that is only dialled, the session may find another; then the message may come late, and is of none.
        """
        if self.grant and self.grant.worker_id == worker_id:
            self._lost = self.grant, reason
            if self._on_end:
                self.end(reason)

    def end(self, reason: str) -> None:
        """End the session for a reason of the grid's, which the client is told."""
        self._told_to_end = reason
        if self._on_end:
            self._on_end(reason)
