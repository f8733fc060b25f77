"""A proxy's sessions: claim a slot or wait for one, hold it, give it back.

`Sessions.open` is the only place where slots are taken, and its `finally` the only place where they are given back.
Whatever else may happen to a proxy, a slot is held by a lease (leases.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from appliance import logs
from appliance.deadline import Deadline
from appliance.errors import Blame, ClientGone, DialFailed
from appliance.grid import refusals
from appliance.grid.grid import Grid
from appliance.grid.leases import SERVERS_TRIED, Leases
from appliance.grid.observer import Observer
from appliance.grid.reach import Reach
from appliance.grid.session import End, Session, SessionStatus, Visit, killed
from appliance.grid.story import EndedBy
from appliance.grid.values import Grant, SessionRequest
from appliance.request_errors import RequestError, ServerChanged, StoreUnavailable
from appliance.settings.config import Settings

log = logs.get_logger()

POLL_INTERVAL_S = 2.0  # finds what a lost message would have told
UNREACHABLE_POLL_S = 0.5
PATH_FAILURES_MAX = 3  # of one session's dials to one appliance
BACK_OFF_S = 0.1  # before the third dial of a session; twice as long before each further one
BACK_OFF_MAX_S = 2.0


class Sessions:
    """All sessions that one proxy relays, or that wait in it."""

    def __init__(
        self,
        grid: Grid,
        settings: Settings,
        proxy_id: str,
        announce: Callable[[], None] = lambda: None,
        reach: Reach | None = None,
        reason_to_leave: Callable[[], RequestError | None] = lambda: None,
        observer: Observer | None = None,
    ) -> None:
        """Set the grid and the timings.

        `announce` announces the appliance, and `reason_to_leave` says why it serves no more, if it does not; `reach`
        knows which workers to avoid. `observer` is told what is worth counting.
        """
        self._reason_to_leave = reason_to_leave
        self._grid = grid
        self._announce = announce
        self._reach = reach or Reach()
        self._reach.on_change(self._reconsider)
        self._proxy = proxy_id
        self._queue_timeout_s = settings.queue_timeout
        self._poll_s = min(POLL_INTERVAL_S, settings.lease_ttl / 3)  # before the lease of an unheard grant ends
        self._queue_max = settings.queue_max_length
        self._live: dict[str, Session] = {}
        self._observer = observer or Observer()
        self._leases = Leases(grid, settings, proxy_id, self._live, self._observer)
        self._visits: list[Visit] = []
        self._no_waiting: RequestError | None = None
        self._no_keeping = ""

    def __len__(self) -> int:
        """Count the sessions, the waiting ones too, and the clients here of another proxy's sessions."""
        return len({*self._live, *(visit.session_id for visit in self._visits)})

    # ── The trip of a session ─────────────────────────────────────────────────────────────────────

    @contextmanager
    def open(self, request: SessionRequest, watch: Callable[[Session], None]) -> Iterator[Session]:
        """Claim a slot, or wait for one until QUEUE_TIMEOUT; the slot is given back at the block's end.

        `watch` is called if the claim has to wait; it ends the session when the client hangs up. Raises ClientGone,
        or the RequestError to answer the client with.
        """
        session = Session(request, Deadline(self._queue_timeout_s))
        if refusal := self._reach.refusal():
            raise refusal
        self._live[session.id] = session
        release = self._leases.release
        try:
            self._take_slot(session, watch)
            yield session
        except StoreUnavailable as error:
            # Perhaps only the answer was lost, and there is something to release; the client need not wait.
            release = self._leases.release_meanwhile
            session.fail(error)
            raise
        except (RequestError, ClientGone) as error:
            session.fail(error)
            raise
        finally:
            del self._live[session.id]
            release(session)

    def find_kept(self, request: SessionRequest) -> Grant | None:
        """Return where the session is to which a client reconnects; None if there is none.

        Raises SessionInUse if it has no slot yet, BadRequest if it is of another kind or ends at another time, and
        VersionNotServed if its browser is another version's.
        """
        found = self._grid.find_kept(request)
        if found["status"] == "none":
            return None
        if found["status"] == "waiting":
            raise refusals.in_use(request)
        if (found["browser"], found["protocol"]) != (request.browser, request.protocol):
            raise refusals.another_kind(request, found["browser"], found["protocol"])
        if found["minor"] and request.minor and found["minor"] != request.minor:
            raise refusals.another_version(request, found["minor"])
        if request.timeout_s not in (0, found["timeout_s"]):
            raise refusals.another_timeout(request, found["timeout_s"])
        return Grant(found["session"], found["worker"], found["worker_name"], found["appliance"], 0)

    @contextmanager
    def visit(self, grant: Grant) -> Iterator[Visit]:
        """Count a client of a kept session, which another proxy may hold."""
        visit = Visit(grant.session_id)
        self._visits.append(visit)
        try:
            yield visit
        finally:
            self._visits.remove(visit)
            self._note_visits([visit])

    def _note_visits(self, visits: Sequence[Visit]) -> None:
        """Note what has moved in these visits; if Redis is away, those that last are noted with the next renewal."""
        moved = [(visit, visit.traffic) for visit in visits if visit.traffic != visit.reported]
        if not moved:
            return
        try:
            self._grid.note_visits((visit.session_id, visit.id, traffic) for visit, traffic in moved)
        except StoreUnavailable as error:
            log.warning("visits.not_noted", error=str(error))
            return
        for visit, traffic in moved:
            visit.reported = traffic

    def end_visit(self, session_id: str, reason: str, by: EndedBy = EndedBy.APPLIANCE) -> None:
        """End the visit of a session's client, if it is here."""
        for visit in list(self._visits):
            if visit.session_id == session_id:
                visit.end(reason, by)

    def keep(self, session: Session, *, is_kept: bool) -> None:
        """Note that a session has no client and waits for the next one, or has one again."""
        session.is_kept = is_kept
        if is_kept and self._no_keeping:
            session.end(End(self._no_keeping, EndedBy.APPLIANCE))
        else:
            self._leases.note_kept(session)

    def keep_no_more(self, reason: str) -> None:
        """End every session that has no client, from now on."""
        self._no_keeping = reason
        for session in list(self._live.values()):
            if session.is_kept:
                session.end(End(reason, EndedBy.APPLIANCE))

    def retry(self, session: Session, error: DialFailed, watch: Callable[[Session], None]) -> None:
        """Claim another slot for a session whose worker could not be reached, within the same deadline.

        Raises CannotDial if that is this proxy's own fault, and NoSlot if the deadline has passed: a dial may last
        beyond it, but no other one follows.
        """
        grant = session.wait_again()
        if grant is None:
            return
        blame = self._reach.failed(grant.appliance, grant.worker_id, error)
        log.warning("dial.failed", session=session.id, worker=grant.worker_id, blame=blame.value, error=str(error))
        self._observer.dial_failed(blame)
        self._grid.give_back(session.id, grant.worker_id, blame)
        _note_failure(session, grant, blame, str(error))
        if refusal := self._reach.refusal():
            raise refusal
        if session.deadline.is_over:
            raise self._no_slot(session)
        watch(session)
        session.wait(_back_off_s(len(session.failures)))
        self._take_slot(session, watch)

    def _take_slot(self, session: Session, watch: Callable[[Session], None]) -> None:
        """Claim until a slot is granted, waiting in between."""
        answer = self._claim(session)
        if answer["status"] == "waiting":
            request = session.request
            log.info("session.waiting", session=session.id, browser=request.browser, version=request.minor or "any")
            watch(session)
            if self._no_waiting:
                session.end(End(str(self._no_waiting), EndedBy.APPLIANCE, self._no_waiting))
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
            raise self._no_slot(session, is_queued=status == "waiting")
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
            raise self._no_slot(session)

    def _no_slot(self, session: Session, *, is_queued: bool = False) -> RequestError:
        return refusals.no_slot(session, self._grid, self._queue_timeout_s, is_queued=is_queued)

    # ── Claims ────────────────────────────────────────────────────────────────────────────────────

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
            queue_max=self._queue_max,
            avoid={*session.tried, *self._reach.avoided},
            is_again=is_again,
            server=server,
        )
        self._observer.claimed(time.perf_counter() - started)
        return answer

    # ── What comes from outside ───────────────────────────────────────────────────────────────────

    def handle(self, message: dict[str, Any]) -> None:
        """Act on a message to this proxy: a claim was granted, or a session must end, was killed, or lost its lease."""
        if session := self._live.get(message.get("granted", "")):
            session.wake()
        if session := self._live.get(message.get("end", "")):
            by = EndedBy.of(message.get("ended_by", ""))
            session.lose_worker(message["worker"], message["reason"], by)
        if session := self._live.get(message.get("kill", "")):
            session.end(killed(message["reason"]))
        if session := self._live.get(message.get("expired", "")):
            self._leases.restore(session)
        if message.get("refuted"):
            self._reach.refuted(message["appliance"])

    def renew(self) -> None:
        """Renew the leases of all sessions, as `Leases.renew` does, and note what has moved in visits."""
        self._leases.renew()
        self._note_visits(self._visits)

    def refuse_waiting(self, error: RequestError | None) -> None:
        """Refuse every session that waits for its slot, from now on; None lets them wait again."""
        self._no_waiting = error
        if error:
            self._end_waiting(error)

    def end_all(self, reason: str) -> None:
        """End every session that is relayed."""
        for session in list(self._live.values()):
            session.end(End(reason, EndedBy.APPLIANCE))
        for visit in list(self._visits):
            visit.end(reason, EndedBy.APPLIANCE)

    def _reconsider(self) -> None:
        """Refuse those who wait if no worker can be dialled; else let them claim again, avoiding what fails now."""
        if refusal := self._reach.refusal():
            self._end_waiting(refusal)
        for session in list(self._live.values()):
            session.wake()

    def _end_waiting(self, error: RequestError) -> None:
        for session in list(self._live.values()):
            if session.status is SessionStatus.WAITING:
                session.end(End(str(error), EndedBy.APPLIANCE, error))


def _note_failure(session: Session, grant: Grant, blame: Blame, said: str) -> None:
    session.failures.append((grant.appliance, said))
    if blame is Blame.WORKER:
        session.tried.add(grant.worker_id)
    elif sum(appliance == grant.appliance for appliance, _ in session.failures) >= PATH_FAILURES_MAX:
        session.tried.add(f"{grant.appliance}/")


def _back_off_s(failures: int) -> float:
    """Return how long a session waits after so many failed dials: not at all after the first."""
    return 0.0 if failures < 2 else min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** (failures - 2))
