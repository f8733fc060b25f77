"""A proxy's claims: each session asks for a slot until it has one, or until there is nothing to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from appliance import logs
from appliance.grid import refusals
from appliance.grid.grid import Grid
from appliance.grid.leases import SERVERS_TRIED, Leases
from appliance.grid.observer import Observer
from appliance.grid.reach import Reach
from appliance.grid.session import End, Session
from appliance.grid.story import EndedBy
from appliance.grid.values import Grant
from appliance.request_errors import RequestError, ServerChanged
from appliance.settings.config import Settings

log = logs.get_logger()

POLL_INTERVAL_S = 2.0  # finds what a lost message would have told
UNREACHABLE_POLL_S = 0.5


class Claims:
    """What the sessions of one proxy ask of the grid, and how they wait."""

    def __init__(
        self,
        grid: Grid,
        settings: Settings,
        proxy_id: str,
        leases: Leases,
        reach: Reach,
        announce: Callable[[], None],
        reason_to_leave: Callable[[], RequestError | None],
        observer: Observer,
    ) -> None:
        """Set what `Sessions` is given, and its leases."""
        self.no_waiting: RequestError | None = None  # why no session may wait, if that is so
        self._grid, self._leases, self._reach = grid, leases, reach
        self._announce, self._reason_to_leave, self._observer = announce, reason_to_leave, observer
        self._proxy = proxy_id
        self._poll_s = min(POLL_INTERVAL_S, settings.lease_ttl / 3)  # before the lease of an unheard grant ends
        self._queue_timeout_s, self._queue_max = settings.queue_timeout, settings.queue_max_length

    def take_slot(self, session: Session, watch: Callable[[Session], None]) -> None:
        """Claim until a slot is granted, waiting in between; `watch` is called once if that is necessary.

        Raises ClientGone, StoreUnavailable, or the RequestError to answer the client with.
        """
        answer = self._claim(session)
        if answer["status"] == "waiting":
            request = session.request
            log.info("session.waiting", session=session.id, browser=request.browser, version=request.minor or "any")
            watch(session)
            if self.no_waiting:
                session.end(End(str(self.no_waiting), EndedBy.APPLIANCE, self.no_waiting))
        while answer["status"] != "active":
            self._wait_to_claim_again(session, answer)
            answer = self._claim(session)
        session.raise_if_ended()  # perhaps while the claim was under way
        waited_ms = int(answer["waited_ms"])
        session.dial(Grant(session.id, answer["worker"], answer["worker_name"], answer["appliance"], waited_ms))

    def _wait_to_claim_again(self, session: Session, answer: dict[str, Any]) -> None:
        """Wait for what a claim has not granted. Raises the refusal if there is nothing to wait for."""
        status = answer["status"]
        session.note_progress(answer.get("progress", ""))
        session.raise_if_ended()  # perhaps while the claim was under way: that is the truer reason
        self._raise_refusal(session, answer)
        if session.deadline.is_over:
            raise self.no_slot(session, is_queued=status == "waiting")
        if status == "lost":
            self._grid.release(session.id, "its worker was lost before it was dialled", ended_by=None)
        else:
            session.wait(min(session.deadline.left_s, UNREACHABLE_POLL_S if status == "unreachable" else self._poll_s))

    def _raise_refusal(self, session: Session, answer: dict[str, Any]) -> None:
        status = answer["status"]
        if status == "full":
            raise refusals.queue_full(session.request, self._queue_max)
        if status == "taken":
            raise refusals.in_use(session.request)
        if status == "unserved" and "failure" in answer:
            raise refusals.not_to_be_had(session.request, answer["versions"], answer["failure"])
        if status == "unserved":
            raise self._reason_to_leave() or refusals.not_served(session.request, answer["versions"])
        if status != "unreachable":
            return
        if refusal := self._reach.refusal_of_the_unreachable():
            raise refusal
        has_given_up = any(name.endswith("/") for name in session.tried)
        if has_given_up and not self._reach.troubles:  # no appliance is left that it would try
            raise self.no_slot(session)

    def no_slot(self, session: Session, *, is_queued: bool = False) -> RequestError:
        """Return the refusal of a session that has nothing to wait for; `is_queued`: see `refusals.no_slot`."""
        return refusals.no_slot(session, self._grid, self._queue_timeout_s, is_queued=is_queued)

    def _claim(self, session: Session) -> dict[str, Any]:
        """Claim; if Redis knows no appliance that serves this browser, announce this one, for it may be lost there."""
        answer = self._claim_after_renewal(session)
        if answer["status"] == "unserved":
            self._announce()
            answer = self._claim_after_renewal(session)
        return answer

    def _claim_after_renewal(self, session: Session) -> dict[str, Any]:
        """Claim, but first tell a new server, after a failover, what this proxy relays: that has the older right."""
        self._leases.renew_if_late()
        for _ in range(SERVERS_TRIED):
            try:
                return self._claim_on(self._leases.server, session)
            except ServerChanged:
                self._leases.renew()
        return self._claim_on(None, session)  # perhaps there are several behind one address

    def _claim_on(self, server: str | None, session: Session) -> dict[str, Any]:
        started, is_again = time.perf_counter(), session.has_claimed
        session.has_claimed = True
        answer = self._grid.claim(
            session.id,
            session.request,
            proxy=self._proxy,
            lease_ms=self._leases.lease_ms,
            wait_ms=int(session.deadline.left_s * 1000),
            waited_ms=int((self._queue_timeout_s - session.deadline.left_s) * 1000) if is_again else 0,
            is_again=is_again,
            queue_max=self._queue_max,
            avoid={*session.tried, *self._reach.avoided},
            server=server,
        )
        self._observer.claimed(time.perf_counter() - started)
        return answer
