"""A proxy's sessions: claim a slot or wait for one, hold it, give it back.

`Sessions.open` is the only place where slots are taken, and its `finally` the only place where they are given back.
Whatever else may happen to a proxy, a slot is held by a lease (leases.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from appliance import logs
from appliance.deadline import Deadline
from appliance.errors import Blame, ClientGone, DialFailed
from appliance.grid import refusals
from appliance.grid.claims import Claims
from appliance.grid.grid import Grid
from appliance.grid.leases import Leases
from appliance.grid.observer import Observer
from appliance.grid.reach import Reach
from appliance.grid.session import End, Session, SessionStatus, killed
from appliance.grid.story import EndedBy
from appliance.grid.values import Grant, SessionRequest
from appliance.grid.visits import Visits
from appliance.request_errors import RequestError, StoreUnavailable
from appliance.settings.config import Settings

log = logs.get_logger()

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
        self._grid, self._proxy = grid, proxy_id
        self._reach = reach or Reach()
        self._reach.on_change(self._reconsider)
        self._queue_timeout_s = settings.queue_timeout
        self._live: dict[str, Session] = {}
        self._observer = observer or Observer()
        self._leases = Leases(grid, settings, proxy_id, self._live, self._observer)
        self._claims = Claims(
            grid, settings, proxy_id, self._leases, self._reach, announce, reason_to_leave, self._observer
        )
        self.visits = Visits(grid, proxy_id, self._live)
        self._no_keeping = ""

    def __len__(self) -> int:
        """Count the sessions, the waiting ones too, and the clients here of another proxy's sessions."""
        return len({*self._live} | self.visits.session_ids)

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
            self._claims.take_slot(session, watch)
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
            raise self._claims.no_slot(session)
        watch(session)
        session.wait(_back_off_s(len(session.failures)))
        self._claims.take_slot(session, watch)

    # ── What comes from outside ───────────────────────────────────────────────────────────────────

    def handle(self, message: dict[str, Any]) -> None:
        """Act on a message to this proxy: a claim was granted, or a session must end, was killed, or lost its lease."""
        if session := self._live.get(message.get("granted", "")):
            session.wake()
        if lost := message.get("end"):
            worker, reason, by = message["worker"], message["reason"], EndedBy.of(message.get("ended_by", ""))
            if session := self._live.get(lost):
                session.lose_worker(worker, reason, by)
            self.visits.end(lost, reason, by, worker)
        if session := self._live.get(message.get("kill", "")):
            session.end(killed(message["reason"]))
        if session := self._live.get(message.get("expired", "")):
            self._leases.restore(session)
        if message.get("refuted"):
            self._reach.refuted(message["appliance"])

    def renew(self) -> None:
        """Renew the leases of all sessions, as `Leases.renew` does, and note what has moved in visits."""
        self._leases.renew()
        self.visits.note()

    def refuse_waiting(self, error: RequestError | None) -> None:
        """Refuse every session that waits for its slot, from now on; None lets them wait again."""
        self._claims.no_waiting = error
        if error:
            self._end_waiting(error)

    def end_all(self, reason: str) -> None:
        """End every session that is relayed."""
        for session in list(self._live.values()):
            session.end(End(reason, EndedBy.APPLIANCE))
        self.visits.end_all(reason)

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
