"""The leases by which a proxy's sessions hold their slots: renewed, asserted if Redis has lost them, and released.

A proxy that is gone renews none, so its slots come free. After a failover, and when Redis comes back, what is relayed
has an older right to its slots than what is claimed: `renew` tells Redis of it first.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from appliance import logs
from appliance.deadline import Deadline
from appliance.grid.grid import Grid
from appliance.grid.observer import Observer
from appliance.grid.session import Session, killed
from appliance.grid.story import NO_TRAFFIC, Traffic
from appliance.grid.values import Grant
from appliance.request_errors import ServerChanged, StoreUnavailable
from appliance.settings.config import Settings

log = logs.get_logger()

SERVERS_TRIED = 3


class Leases:
    """The leases of one proxy's sessions."""

    def __init__(
        self, grid: Grid, settings: Settings, proxy_id: str, live: dict[str, Session], observer: Observer
    ) -> None:
        """Set the proxy's sessions by id, `live`: their owner adds and removes them.

        `observer` is told of the leases that were lost.
        """
        self.server: str | None = None  # the run id of the Redis that knows what this proxy relays
        self.lease_ms = int(settings.lease_ttl * 1000)
        self._grid = grid
        self._proxy = proxy_id
        self._live = live
        self._observer = observer
        self._worker_ttl_s = settings.worker_ttl
        self._renewing = threading.Lock()
        self._renewals = 0
        self._renewal_failed = ""
        self._expiry = Deadline(settings.lease_ttl)
        self._to_release: dict[str, Session] = {}  # they ended while Redis did not answer
        self._to_note: dict[str, Session] = {}  # it is not noted in Redis yet whether they are kept

    def renew(self) -> None:
        """Renew all leases, and assert the sessions that Redis has forgotten. Raises StoreUnavailable.

        Also ends the killed sessions whose message was lost. Calls that come while one is under way share its result:
        while Redis is away, nobody waits for the failures of all that came before.
        """
        before = self._renewals
        with self._renewing:
            if self._renewals == before:
                self._try_to_renew()
            elif self._renewal_failed:
                raise StoreUnavailable(self._renewal_failed)

    def renew_if_late(self) -> None:
        """Renew after a pause longer than a lease."""
        if self._expiry.is_over:
            self.renew()

    def _try_to_renew(self) -> None:
        expiry, self._renewal_failed = Deadline(self.lease_ms / 1000), ""
        try:
            self._renew()
            self._expiry = expiry
        except StoreUnavailable as error:
            self._renewal_failed = str(error)
            for session in list(self._live.values()):  # nobody knows what registers or ends while Redis is away
                session.unknown_until = None
            raise
        finally:
            self._renewals += 1

    def _renew(self) -> None:
        held = {session.id: session for session in self._live.values() if session.grant}
        workers = {session.id: session.grant.worker_id for session in held.values() if session.grant}
        moved = {id_: traffic for id_, one in held.items() if (traffic := one.traffic) != one.reported}
        server, unknown, kills = self._renew_on_one_server(workers, moved)
        for session_id, reason in kills.items():
            if session := self._live.get(session_id):
                session.end(killed(reason))
        for session_id, session in held.items():
            if session_id not in unknown:
                session.unknown_until = None
                session.reported = moved.get(session_id, session.reported)
            elif session_id in self._live and session.grant:
                self._assert(session, session.grant)
        self.server = server
        for session_id in list(self._to_release):
            if session := self._to_release.pop(session_id, None):
                self.release(session)
        for session_id in list(self._to_note):
            if session := self._to_note.pop(session_id, None):
                self.note_kept(session)

    def _renew_on_one_server(
        self, workers: dict[str, str], moved: dict[str, Traffic]
    ) -> tuple[str, list[str], dict[str, str]]:
        """Renew, and return the server's run id with the answer; it may change between the two calls.

        There may also be several servers at one address: then it is given up after SERVERS_TRIED.
        """
        for _ in range(SERVERS_TRIED):
            server = self._grid.store.server()
            with suppress(ServerChanged):
                return server, *self._grid.renew(self._proxy, workers, self.lease_ms, server, moved)
        return server, *self._grid.renew(self._proxy, workers, self.lease_ms, traffic=moved)

    def restore(self, session: Session) -> None:
        """Assert a session whose lease has expired. If Redis is away, a later renewal does it."""
        try:
            if session.grant:
                self._assert(session, session.grant)
        except StoreUnavailable as error:
            log.warning("session.not_asserted", session=session.id, error=str(error))

    def _assert(self, session: Session, grant: Grant) -> None:
        answer = self._grid.assert_session(grant, session.request, proxy=self._proxy, lease_ms=self.lease_ms)
        status, over = answer["status"], answer.get("over", 0)
        self._observer.lease_lost()
        session.reported = NO_TRAFFIC  # as far as Redis knows, which has lost it
        log.warning("session.asserted", session=session.id, worker=grant.worker_id, status=status)
        if status == "active" and session.is_kept:
            self._grid.keep_session(session.id, is_kept=True)
        if over:
            log.warning("worker.over_admitted", worker=grant.worker_id, over=over, reason="Redis lost what it held")
        if status == "pending":  # its worker registers again with its next heartbeat, if it lives
            session.unknown_until = session.unknown_until or Deadline(self._worker_ttl_s)
            if session.unknown_until.is_over:
                session.lose_worker(grant.worker_id, f"worker {grant.worker_name} stopped answering")

    def note_kept(self, session: Session) -> None:
        """Note whether a session is kept; if Redis is away, with the next renewal."""
        try:
            self._grid.keep_session(session.id, is_kept=session.is_kept)
        except StoreUnavailable as error:
            self._to_note[session.id] = session
            log.warning("session.not_noted", session=session.id, error=str(error))

    def release(self, session: Session) -> None:
        """Release a session's slot, or its place in the queue; if Redis is away, with the next renewal."""
        try:
            worker = session.grant.worker_id if session.grant else ""
            traffic = None if session.request.kept_as else session.traffic
            self._grid.release(session.id, session.end_reason, worker, ended_by=session.ended_by, traffic=traffic)
        except StoreUnavailable as error:
            self._to_release[session.id] = session
            log.warning("session.release_delayed", session=session.id, error=str(error), until="Redis answers again")

    def release_meanwhile(self, session: Session) -> None:
        """Release without waiting for Redis."""
        threading.Thread(target=self.release, args=(session,), daemon=True).start()
