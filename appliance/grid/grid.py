"""The grid: each function of the Lua library as one typed method of the same name, and read-only views.

Every method raises StoreUnavailable if Redis is away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from appliance.grid import token_table
from appliance.grid.slots import Slots
from appliance.grid.store import Store
from appliance.grid.stories import Stories
from appliance.grid.story import Bounds, EndedBy
from appliance.grid.token_table import Principal, Role, Table, Token
from appliance.grid.values import (
    Announcement,
    CrashCause,
    DrainCause,
    Standing,
    Wish,
    WorkerSpec,
    WorkerStatus,
)
from appliance.grid.views import Views
from appliance.names import Browser
from appliance.settings.config import Settings


class Grid(Slots, Views, Stories):
    """The grid's workers, sessions, appliances and tokens, as all appliances see them."""

    # ── Workers ───────────────────────────────────────────────────────────────────────────────────

    def take_launch_turn(self, appliance: str, stagger_s: float) -> float:
        """Ask to launch a browser now. Return 0 for yes, or after how many seconds to ask again."""
        return float(
            self.store.call("take_launch_turn", appliance=appliance, stagger_ms=stagger_s * 1000)["wait_ms"] / 1000
        )

    def register_worker(self, spec: WorkerSpec) -> WorkerStatus:
        """Register a worker, or register it again. Return its status."""
        fields = asdict(spec)
        fields["ttl"] = fields.pop("ttl_ms")
        answer = self.store.call("register_worker", minor=spec.minor, memory=0, **fields)
        return WorkerStatus(answer["status"])

    def heartbeat_worker(
        self, worker_id: str, memory_bytes: int, healthy: bool = False, connections: int = -1, settle_ms: int = 0
    ) -> dict[str, Any] | None:
        """Renew a worker's registration; `healthy` if its browser has just answered.

        If Redis may have lost sessions, `connections` counts those of the worker's driver: the ones that Redis does
        not know take slots for `settle_ms`, in which the proxies assert their sessions.
        Return its `status` with the `reason` of a drain, `lifetime`, `active` and `suspect`; None if it is unknown.
        """
        answer = self.store.call(
            "heartbeat_worker",
            id=worker_id,
            memory=memory_bytes,
            healthy=healthy,
            connections=connections,
            settle_ms=settle_ms,
        )
        return answer if answer["known"] else None

    def drain_worker(self, worker_id: str, reason: str, cause: DrainCause = DrainCause.OPERATOR) -> int | None:
        """Drain a worker: it gets no new sessions. Return how many it still has; None if it is unknown."""
        answer = self.store.call("drain_worker", id=worker_id, reason=reason, cause=cause)
        return int(answer["active"]) if answer["known"] else None

    def end_sessions(self, worker_id: str, reason: str, ended_by: EndedBy = EndedBy.WORKER) -> int:
        """Ask the proxies to end a worker's sessions. Return how many there are."""
        return int(self.store.call("end_sessions", worker=worker_id, reason=reason, ended_by=ended_by)["ended"])

    def remove_worker(self, worker_id: str, reason: str, crash: CrashCause | None = None) -> int:
        """Remove a worker; `crash` says what crashed, if that is why. Return how many sessions ended with it."""
        return int(self.store.call("remove_worker", id=worker_id, reason=reason, crash=crash or "")["sessions"])

    def reap(self, silence_s: float = 5.0, appliance: str = "", history: Bounds | None = None) -> dict[str, int]:
        """Remove workers and sessions that are overdue. Return how many `workers`, `sessions` and `waiting` there were.

        Also restores what Redis lost of the named appliance's teams. From now on the grid's clock counts a time in
        which nobody called Redis as `silence_s` at most, so that an outage makes nobody late. The history is trimmed
        to its bounds.
        """
        count, more = Counter(workers=0, sessions=0, waiting=0), True
        bounds = {"history_keep": history.keep, "history_max_age_ms": int(history.max_age_s * 1000)} if history else {}
        while more:  # Redis serves others in between
            answer = self.store.call("reap", silence_ms=int(silence_s * 1000), appliance=appliance, **bounds)
            more = answer.pop("more")
            count.update(answer)
        return dict(count)

    def report_failure(self, appliance: str, name: str, browser: Browser, reason: str, ttl_s: float) -> None:
        """Record why a worker does not serve: for `ttl_s`, or until a worker of this name registers."""
        ttl_ms = int(ttl_s * 1000)
        self.store.call(
            "report_failure", appliance=appliance, name=name, browser=browser, reason=reason[:500], ttl_ms=ttl_ms
        )

    # ── Appliances ────────────────────────────────────────────────────────────────────────────────

    def announce(self, announcement: Announcement) -> Standing:
        """Announce an appliance. Return what the grid knows of it, for instance whether it is drained."""
        fields = asdict(announcement)
        fields["pools"] = {f"{browser} {minor}": workers for (browser, minor), workers in announcement.pools.items()}
        answer = self.store.call("announce", **fields)
        return Standing(bool(answer["drained"]), int(answer["others"]), str(answer["rival"]), int(answer["epoch"]))

    def drain_appliance(self, appliance: str, reason: str) -> bool:
        """Drain an appliance until it is undrained or restarted: no new sessions. Return False if it is unknown.

        If it is drained already, the reason is replaced.
        """
        return bool(self.store.call("drain_appliance", appliance=appliance, reason=reason)["known"])

    def resize_team(self, appliance: str, browser: Browser, minor: str, *, target: int, spares: int) -> None:
        """Set how many workers of an appliance serve in a pool, and how many stand by; with 0, it has left the pool."""
        self.store.call("resize_team", appliance=appliance, browser=browser, minor=minor, target=target, spares=spares)

    def take_wish(
        self,
        appliance: str,
        minors: Iterable[str],
        ttl_s: float,
        hold_s: float,
        lacking: Mapping[str, str] | None = None,
        there: Iterable[str] = (),
    ) -> Wish | None:
        """Announce for `ttl_s` that an appliance can get drivers of these minors; return the wish that it now holds.

        `lacking` says why it cannot get those of other minors. The wish is held for `hold_s`, or until the next report:
        no other appliance fetches a driver meanwhile. `there` are the minors whose drivers need not be fetched.
        """
        answer = self.store.call(
            "take_wish", appliance=appliance, minors=list(minors), there=list(there),
            lacking=dict(lacking or {}), ttl_ms=int(ttl_s * 1000), hold_ms=int(hold_s * 1000),
        )  # fmt: skip
        return Wish(Browser(answer["browser"]), answer["minor"]) if "browser" in answer else None

    def report_wish(self, appliance: str, wish: Wish, status: str, text: str = "", hold_s: float = 0) -> bool:
        """Report what became of a wish: it is "held", with what is being done; "failed", with the reason; or "done".

        "full" is a failure for want of room, after which the next attempt need not wait for long. After a failure
        another appliance that can get it tries; the wish is refused when all have failed.
        Return False if the appliance does not hold it any more.
        """
        answer = self.store.call(
            "report_wish", appliance=appliance, browser=wish.browser, minor=wish.minor, status=status, text=text[:500],
            hold_ms=int(hold_s * 1000),
        )  # fmt: skip
        return bool(answer["held"])

    def undrain_appliance(self, appliance: str, reason: str = "") -> bool:
        """End an appliance's drain; with a reason, only a drain for that reason. Return False if it is unknown."""
        return bool(self.store.call("undrain_appliance", appliance=appliance, reason=reason)["known"])

    # ── Tokens ────────────────────────────────────────────────────────────────────────────────────

    def create_token(self, digest: str, name: str, ttl_s: float = 0, role: Role = Role.CLIENT) -> bool:
        """Add a token, for `ttl_s` or for ever (0). Return False if a valid token has that name already."""
        answer = self.store.call("create_token", digest=digest, name=name, ttl_ms=int(ttl_s * 1000), role=role)
        return bool(answer["created"])

    def revoke_token(self, name: str) -> int:
        """Revoke the valid tokens of a name. Return how many there were."""
        return int(self.store.call("revoke_token", name=name)["revoked"])

    def check_token(self, digest: str) -> Principal | None:
        """Return who has a valid token, and record its use; None if Redis does not know it."""
        found = self.store.call("check_token", digest=digest)["token"]
        if not found:
            return None
        (token,) = token_table.parse({digest: found}).values()
        return Principal(token.name, token.is_admin)

    def restore_tokens(self, table: Table) -> dict[str, Token]:
        """Add a copy's tokens to those in Redis, which may have lost them. Return all."""
        return token_table.parse(self.store.call("restore_tokens", tokens=token_table.as_data(table))["tokens"])

    # ── The inner door ────────────────────────────────────────────────────────────────────────────

    def door_keys(self, known: str, fresh: str, rotate_s: float) -> list[str]:
        """Return the inner door's key, and the key before it if there is one.

        If Redis has lost the key, `known` becomes it ("" if the caller knows none). `fresh` becomes the key if there
        never was one, or when the key is `rotate_s` old.
        """
        answer = self.store.call("door_keys", known=known, fresh=fresh, rotate_ms=rotate_s * 1000)
        return list(answer["keys"])


@contextmanager
def open_grid(settings: Settings) -> Iterator[Grid]:
    """Return the grid of these settings until the block's end; nothing is connected yet."""
    store = Store(settings.effective_redis_url, settings.grid_namespace)
    try:
        yield Grid(store)
    finally:
        store.close()
