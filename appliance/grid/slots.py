"""Slots: sessions claim them, renew their leases, and release them; kept sessions are found by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from appliance.errors import Blame
from appliance.grid.store import Store
from appliance.grid.story import NO_TRAFFIC, EndedBy, Traffic
from appliance.grid.values import Grant, SessionRequest


class Slots:
    """The part of `Grid` that gives sessions their slots. Every method raises StoreUnavailable if Redis is away."""

    store: Store

    def claim(
        self,
        session_id: str,
        request: SessionRequest,
        *,
        proxy: str,
        lease_ms: int,
        wait_ms: int,
        waited_ms: int = 0,
        queue_max: int,
        avoid: Iterable[str] = (),
        is_again: bool = False,
        server: str | None = None,
    ) -> dict[str, Any]:
        """Claim a slot, or return where an earlier claim of the same session stands: then it `is_again`.

        `avoid` names workers, and appliances with a slash behind the name, that the session must not get. It has waited
        for `waited_ms` if Redis has lost an earlier claim of it, or the worker that it was given.
        The answer's `status` is "active", "waiting", "lost", "unserved" (with `versions`), "unreachable", "full", or
        "taken": another session of this token has the name by which clients are to reconnect.
        If a `server` is given, raises ServerChanged if Redis is another one.
        """
        return self.store.call_on(
            server,
            "claim",
            id=session_id,
            proxy=proxy,
            lease_ms=lease_ms,
            wait_ms=wait_ms,
            waited_ms=waited_ms,
            queue_max=queue_max,
            avoid=" ".join(sorted(avoid)),
            is_again=is_again,
            **asdict(request),
        )

    def find_kept(self, request: SessionRequest) -> dict[str, Any]:
        """Return the session that a client may reconnect to by its name, and the worker that it is on.

        The answer's `status` is "active", "waiting" if it has no slot yet, or "none".
        """
        return self.store.call("find_kept", token=request.token, kept_as=request.kept_as)

    def begin_visit(self, session_id: str, proxy: str) -> None:
        """Note that a client of another `proxy` has come to a session: it is told, too, when the worker ends."""
        self.store.call("begin_visit", id=session_id, proxy=proxy)

    def keep_session(self, session_id: str, *, is_kept: bool) -> None:
        """Note that a session has lost its client and is kept for the next one, or has one again."""
        self.store.call("keep_session", id=session_id, is_kept=is_kept)

    def give_back(self, session_id: str, worker_id: str, blame: Blame = Blame.WORKER) -> None:
        """Return the slot of a worker that was not reached; the session's next claim keeps its place in the queue."""
        self.store.call("give_back", id=session_id, worker=worker_id, blame=blame)

    def release(
        self,
        session_id: str,
        reason: str,
        worker_id: str = "",
        *,
        ended_by: EndedBy | None = EndedBy.CLIENT,
        traffic: Traffic | None = NO_TRAFFIC,
    ) -> bool:
        """End a session, active or waiting, and free the worker's slot in any case. Return False if it was unknown.

        `ended_by` is None if it has not ended, and is about to claim again; then it gets no history entry. `traffic` is
        None for a session whose visits have reported theirs.
        """
        answer = self.store.call(
            "release",
            id=session_id,
            worker=worker_id,
            reason=reason,
            ended_by=ended_by or "",
            traffic="" if traffic is None else str(traffic),
        )
        return bool(answer["released"])

    def note_visits(self, visits: Iterable[tuple[str, str, Traffic]]) -> None:
        """Note what clients of kept sessions have moved so far: each a session, a visit of it, and its traffic."""
        noted = [{"id": session, "visit": visit, "traffic": str(traffic)} for session, visit, traffic in visits]
        self.store.call("note_visits", visits=noted)

    def kill_session(self, session_id: str, reason: str) -> bool:
        """Ask a session's proxy to end it; its client reads the reason. Return False if the session is unknown."""
        return bool(self.store.call("kill_session", id=session_id, reason=reason)["known"])

    def renew(
        self,
        proxy: str,
        sessions: Mapping[str, str],
        lease_ms: int,
        server: str | None = None,
        traffic: Mapping[str, Traffic] | None = None,
    ) -> tuple[list[str], dict[str, str]]:
        """Renew the leases of a proxy's `sessions`: the worker of each, by the session's id.

        `traffic` says what those have moved that have moved something since the last renewal.
        Return the sessions that Redis does not know on that worker, and those the proxy must end, with the reasons.
        If a `server` is given, raises ServerChanged if Redis is another one.
        """
        answer = self.store.call_on(
            server,
            "renew",
            proxy=proxy,
            sessions=sessions,
            lease_ms=lease_ms,
            traffic={session: str(moved) for session, moved in (traffic or {}).items()},
        )
        return list(answer["unknown"]), dict(answer["kills"])

    def release_proxy(self, proxy: str) -> int:
        """End all sessions of a proxy that has ended. Return how many there were."""
        return sum(int(answer["sessions"]) for answer in self.store.call_in_slices("release_proxy", proxy=proxy))

    def leave(self, proxy: str) -> None:
        """Count a proxy as gone, as if its lease had expired."""
        self.renew(proxy, {}, lease_ms=-1)

    def assert_session(self, grant: Grant, request: SessionRequest, *, proxy: str, lease_ms: int) -> dict[str, Any]:
        """Restore a session that is relayed although Redis does not know it.

        The answer's `status` is "active", with how many sessions its worker has `over` its slots, or "pending" while
        the worker is not registered.
        """
        return self.store.call(
            "assert_session",
            id=grant.session_id,
            worker=grant.worker_id,
            proxy=proxy,
            lease_ms=lease_ms,
            **asdict(request),
        )
