"""A proxy's sessions: claim a slot or wait for one, hold it, give it back.

`Sessions.open` is the only place where slots are taken, and its `finally` the only place where they
are given back. Whatever else may happen to a proxy, a slot is held by a lease that `renew` extends: a
proxy that is gone does not renew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from appliance import logs
from appliance.errors import (
    Blame,
    BrowserNotServed,
    DialFailed,
    NoSlot,
    NoWorker,
    QueueFull,
    RequestError,
    ServerChanged,
    StoreUnavailable,
    VersionNotServed,
)
from appliance.grid.grid import Grid
from appliance.grid.languages import how_to_install
from appliance.grid.reach import Reach
from appliance.grid.session import End, Session, SessionStatus, killed
from appliance.grid.values import Grant, SessionRequest
from appliance.settings.config import Settings

log = logs.get_logger()

POLL_INTERVAL_S = 2.0  # only finds what a lost message would have told
UNREACHABLE_POLL_S = 0.5
SERVERS_TRIED = 3
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
    ) -> None:
        """Use the settings' timings. `announce` announces the appliance, `reach` knows whose workers to avoid."""
        self._grid = grid
        self._announce = announce
        self._reach = reach or Reach()
        self._reach.on_change(self._reconsider)
        self._proxy = proxy_id
        self._lease_ms = int(settings.lease_ttl * 1000)
        self._renewing = threading.Lock()
        self._renewals = 0
        self._renewal_failed = ""
        self._renewed_at = time.monotonic()
        self._server: str | None = None  # the one that knows what this proxy relays: `renew` told it
        self._worker_ttl_s = settings.worker_ttl
        self._queue_timeout_s = settings.queue_timeout
        self._poll_s = min(POLL_INTERVAL_S, settings.lease_ttl / 3)  # or the lease of a grant that was not heard ends
        self._queue_max = settings.queue_max_length
        self._live: dict[str, Session] = {}
        self._to_release: dict[str, Session] = {}  # they ended while Redis did not answer
        self._no_waiting: RequestError | None = None

    def __len__(self) -> int:
        """Count the sessions, the waiting ones too."""
        return len(self._live)

    @contextmanager
    def open(self, request: SessionRequest, watch: Callable[[Session], None]) -> Iterator[Session]:
        """Claim a slot, or wait for one until QUEUE_TIMEOUT; the slot is given back at the block's end.

        `watch` is called once if the claim has to wait; it ends the session when the client hangs up. Raises
        ClientGone, or the RequestError to answer the client with.
        """
        session = Session(request, time.monotonic() + self._queue_timeout_s)
        if refusal := self._reach.refusal():
            raise refusal
        self._live[session.id] = session
        release = self._release
        try:
            self._settle(session, self._claim_announced(session), watch)
            yield session
        except StoreUnavailable:
            # Perhaps only the answer was lost, and there is something to release; the client need not wait.
            release = self._release_meanwhile
            raise
        finally:
            del self._live[session.id]
            release(session)

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
        self._grid.give_back(session.id, grant.worker_id, blame)
        self._note_failure(session, grant, blame, str(error))
        if refusal := self._reach.refusal():
            raise refusal
        if time.monotonic() >= session.deadline:
            raise self._no_slot(session)
        watch(session)
        session.wait(_back_off_s(len(session.failures)))
        self._settle(session, self._claim_announced(session), watch)

    def _note_failure(self, session: Session, grant: Grant, blame: Blame, said: str) -> None:
        session.failures.append((grant.appliance, said))
        if blame is Blame.WORKER:
            session.tried.add(grant.worker_id)
        elif sum(appliance == grant.appliance for appliance, _ in session.failures) >= PATH_FAILURES_MAX:
            session.tried.add(f"{grant.appliance}/")

    def _reconsider(self) -> None:
        """Refuse who waits if no worker can be dialled; else let them ask again, with what is to be avoided now."""
        refusal = self._reach.refusal()
        for session in list(self._live.values()):
            if refusal and session.status is SessionStatus.WAITING:
                session.end(End(str(refusal), refusal))
            session.wake()

    def handle(self, message: dict[str, Any]) -> None:
        """Act on a message to this proxy: a claim was granted, or a session must end, was killed, or lost its lease."""
        if session := self._live.get(message.get("granted", "")):
            session.wake()
        if session := self._live.get(message.get("end", "")):
            session.lose_worker(message["worker"], message["reason"])
        if session := self._live.get(message.get("kill", "")):
            session.end(killed(message["reason"]))
        if session := self._live.get(message.get("expired", "")):
            self._take_up(session)
        if message.get("refuted"):
            self._reach.refuted(message["appliance"])

    def renew(self) -> None:
        """Renew the leases of all sessions, and take up again those that Redis has forgotten.

        Also kills those of whose end no message told. Whoever comes while it is done shares how it ends: while Redis
        is away, nobody waits for the failures of all that came before.
        """
        before = self._renewals
        with self._renewing:
            if self._renewals == before:
                self._try_to_renew()
            elif self._renewal_failed:
                raise StoreUnavailable(self._renewal_failed)

    def _renew_if_late(self) -> None:
        """Renew after a pause past the leases: what is relayed has an older right to its slots than what comes now."""
        if (time.monotonic() - self._renewed_at) * 1000 > self._lease_ms:
            self.renew()

    def _try_to_renew(self) -> None:
        began, self._renewal_failed = time.monotonic(), ""
        try:
            self._renew()
            self._renewed_at = began
        except StoreUnavailable as error:
            self._renewal_failed = str(error)
            for session in list(self._live.values()):  # nobody knows what registers or ends while Redis is away
                session.unknown_since = None
            raise
        finally:
            self._renewals += 1

    def _renew(self) -> None:
        relayed = {session.id: session for session in self._live.values() if session.grant}
        workers = {session.id: session.grant.worker_id for session in relayed.values() if session.grant}
        server, unknown, kills = self._renew_on_the_server_of_now(workers)
        for session_id, reason in kills.items():
            if session := self._live.get(session_id):
                session.end(killed(reason))
        for session_id, session in relayed.items():
            if session_id not in unknown:
                session.unknown_since = None
            elif session_id in self._live and session.grant:
                self._assert(session, session.grant)
        self._server = server
        for session_id in list(self._to_release):
            if session := self._to_release.pop(session_id, None):
                self._release(session)

    def _renew_on_the_server_of_now(self, workers: dict[str, str]) -> tuple[str, list[str], dict[str, str]]:
        """Renew; which server that is may change between the two calls. Perhaps there are several at one address."""
        for _ in range(SERVERS_TRIED):
            server = self._grid.store.server()
            with suppress(ServerChanged):
                return server, *self._grid.renew(self._proxy, workers, self._lease_ms, server)
        return server, *self._grid.renew(self._proxy, workers, self._lease_ms)

    def refuse_waiting(self, error: RequestError | None) -> None:
        """Refuse every session that waits for its slot, from now on; None lets them wait again."""
        self._no_waiting = error
        for session in list(self._live.values()):
            if error and session.status is SessionStatus.WAITING:
                session.end(End(str(error), error))

    def end_all(self, reason: str) -> None:
        """End every session that is relayed."""
        for session in list(self._live.values()):
            session.end(End(reason))

    def _take_up(self, session: Session) -> None:
        """Assert a session whose lease has expired. If Redis cannot be asked, it is done when it is back."""
        try:
            if session.grant:
                self._assert(session, session.grant)
        except StoreUnavailable as error:
            log.warning("session.not_asserted", session=session.id, error=str(error))

    def _assert(self, session: Session, grant: Grant) -> None:
        answer = self._grid.assert_session(grant, session.request, proxy=self._proxy, lease_ms=self._lease_ms)
        state, over = answer["state"], answer.get("over", 0)
        log.warning("session.asserted", session=session.id, worker=grant.worker_id, state=state)
        if over:
            log.warning("worker.over_admitted", worker=grant.worker_id, over=over, reason="Redis lost what it held")
        if state == "pending":  # its worker registers again with its next heartbeat, if it lives
            session.unknown_since = session.unknown_since or time.monotonic()
            if time.monotonic() - session.unknown_since > self._worker_ttl_s:
                session.lose_worker(grant.worker_id, f"worker {grant.slot} stopped answering")

    def _claim(self, session: Session) -> dict[str, Any]:
        """Claim, after a failover only when Redis has been told what this proxy relays: that has the older right."""
        self._renew_if_late()
        for _ in range(SERVERS_TRIED):
            try:
                return self._claim_on(self._server, session)
            except ServerChanged:
                self.renew()
        return self._claim_on(None, session)  # perhaps there are several behind one address

    def _claim_on(self, server: str | None, session: Session) -> dict[str, Any]:
        left_s = max(0.0, session.deadline - time.monotonic())
        return self._grid.claim(
            session.id,
            session.request,
            proxy=self._proxy,
            lease_ms=self._lease_ms,
            wait_ms=int(left_s * 1000),
            queue_max=self._queue_max,
            avoid={*session.tried, *self._reach.avoided},
            server=server,
        )

    def _claim_announced(self, session: Session) -> dict[str, Any]:
        """Claim; if Redis knows of nobody who serves this browser, it may have forgotten this appliance."""
        answer = self._claim(session)
        if answer["state"] == "unserved":
            self._announce()
            answer = self._claim(session)
        return answer

    def _settle(self, session: Session, answer: dict[str, Any], watch: Callable[[Session], None]) -> None:
        """Turn the answer of a claim into a grant, waiting for it if need be."""
        if answer["state"] == "waiting":
            watch(session)
            if self._no_waiting:
                session.end(End(str(self._no_waiting), self._no_waiting))
        while answer["state"] != "active":
            self._raise_refusal(session, answer)
            left_s = session.deadline - time.monotonic()
            if left_s <= 0:
                raise self._no_slot(session, answer["state"])
            if answer["state"] == "lost":
                self._grid.release(session.id, "its worker was lost before it was dialled")
            else:
                poll_s = UNREACHABLE_POLL_S if answer["state"] == "unreachable" else self._poll_s
                session.wait(min(left_s, poll_s))
            answer = self._claim_announced(session)
        session.raise_if_ended()  # perhaps while the claim was under way
        waited_ms = int(answer["waited_ms"])
        session.dial(Grant(session.id, answer["worker"], answer["slot"], answer["appliance"], waited_ms))

    def _raise_refusal(self, session: Session, answer: dict[str, Any]) -> None:
        request = session.request
        if answer["state"] == "full":
            raise QueueFull(f"All {request.browser} slots are taken, and {self._queue_max} clients already wait.")
        if answer["state"] == "unreachable" and (refusal := self._reach.refusal_of_the_unreachable()):
            raise refusal
        has_given_up = any(name.endswith("/") for name in session.tried) and not self._reach.troubles
        if answer["state"] == "unreachable" and has_given_up:  # no appliance is left that it would try
            raise self._no_slot(session)
        if answer["state"] != "unserved":
            return
        versions = list(answer["versions"])
        if not versions:
            raise BrowserNotServed(
                f"This grid serves no {request.browser}.",
                f"Set {request.browser.upper()}_WORKERS on an appliance, or ask for another browser.",
            )
        raise VersionNotServed(
            f"No {request.browser} worker serves Playwright {request.minor}. Served: {', '.join(versions)}.",
            how_to_install(request.user_agent, versions[0]) + ".",
        )

    def _no_slot(self, session: Session, state: str = "") -> RequestError:
        """Return what a client is told that has waited for QUEUE_TIMEOUT, or need not: there is nothing to wait for.

        `state` is that of its last claim, "" if its last dial has just failed.
        """
        request, waited = session.request, ""
        if time.monotonic() >= session.deadline:
            waited = f" within {self._queue_timeout_s:g} s"
        if session.failures:
            dials = "1 dial" if len(session.failures) == 1 else f"{len(session.failures)} dials"
            failed = f"{dials} failed, the last one because {session.failures[-1][1].rstrip('.')}."
            if state == "waiting":
                return NoSlot(f"No other {request.browser} slot came free{waited}, after {failed}")
            return NoSlot(f"No {request.browser} worker was reached{waited}: {failed}")
        pools = [pool for pool in self._grid.capacity() if pool.browser == request.browser]
        if any(sum(pool.workers.values()) for pool in pools if request.minor in ("", pool.version)):
            return NoSlot(f"No {request.browser} slot came free{waited}.")
        failures = self._grid.failures(request.browser)
        if not failures:
            return NoWorker(f"No {request.browser} worker is running.")
        first = failures[0]
        others = f" ({len(failures)} workers fail)" if len(failures) > 1 else ""
        reason = f"{first.slot} of {first.appliance} failed: {first.reason.rstrip('.')}{others}"
        return NoWorker(f"No {request.browser} worker is running, because {reason}.")

    def _release(self, session: Session) -> None:
        try:
            worker = session.grant.worker_id if session.grant else ""
            self._grid.release(session.id, session.end_reason, session.bytes_relayed, worker)
        except StoreUnavailable as error:
            self._to_release[session.id] = session
            log.warning("session.release_delayed", session=session.id, error=str(error), until="Redis answers again")

    def _release_meanwhile(self, session: Session) -> None:
        threading.Thread(target=self._release, args=(session,), daemon=True).start()


def _back_off_s(failures: int) -> float:
    """Return how long a session whose dials failed so many times waits for its next one: first not at all."""
    return 0.0 if failures < 2 else min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** (failures - 2))
