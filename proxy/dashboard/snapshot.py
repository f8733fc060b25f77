"""What the page is told of the grid: rows of plain data, and what has changed between two looks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from appliance.grid.overview import Overview, Policy
from appliance.grid.records import ApplianceInfo, WorkerInfo
from appliance.grid.samples import Sample
from appliance.grid.token_table import Principal
from appliance.names import Isolation

Row = dict[str, Any]
Table = dict[str, Row]  # by id
Message = dict[str, Any]

EVENTS_KEPT, SAMPLES_KEPT = 60, 360
_ANY = "any"  # the pool of those that wait and named no version


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at the grid, as the page knows it. `events` and `samples` are numbered from the feed's start on.

    `trouble` is a sentence if the grid could not be read: all else is then as it was before.
    """

    now_ms: int = 0
    trouble: str = ""
    grid: Row = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    events: tuple[Row, ...] = ()
    events_seen: int = 0
    samples: tuple[Sample, ...] = ()
    samples_seen: int = 0

    def after(self, look: Overview, samples: Iterable[Sample], facts: Row) -> Snapshot:
        """Return the snapshot that follows this one; `facts` are about the grid as a whole."""
        new_samples = tuple(samples)
        tables: dict[str, Table] = {
            "pools": _pools(look),
            "workers": {worker.id: _worker(worker) for worker in look.workers},
            "sessions": {session.id: session.as_dict() for session in look.sessions},
            "appliances": {one.name: _appliance(one) for one in look.appliances},
        }
        memory = sum(worker.memory_bytes for worker in look.workers)
        return Snapshot(
            now_ms=look.now_ms,
            grid=facts | {"memory_bytes": memory, "sessions_total": look.sessions_total},
            tables=tables,
            events=(*self.events, *look.events)[-EVENTS_KEPT:],
            events_seen=self.events_seen + len(look.events),
            samples=(*self.samples, *new_samples)[-SAMPLES_KEPT:],
            samples_seen=self.samples_seen + len(new_samples),
        )

    def seen_by(self, who: Principal) -> Snapshot:
        """Return what somebody may see: an admin everything, a client the pools and the sessions of its token."""
        if who.is_admin:
            return self
        own = {one: row for one, row in self.tables.get("sessions", {}).items() if who.owns(row["token"])}
        grid = self.grid | {"sessions_total": sum(row["status"] != "waiting" for row in own.values())}
        tables = {"pools": self.tables.get("pools", {}), "sessions": own}
        return replace(self, grid=grid, tables=tables, events=(), events_seen=0)


def changes(before: Snapshot | None, now: Snapshot) -> Message:
    """Return the message that leads from one snapshot to the next; all of it if there was none before."""
    told: Message = {"type": "state", "now_ms": now.now_ms, "trouble": now.trouble}
    if before is None:
        told["full"], before = True, Snapshot()
    if now.grid != before.grid:
        told["grid"] = now.grid
    for name, table in now.tables.items():
        if change := _change(before.tables.get(name, {}), table):
            told[name] = change
    if new := now.events_seen - before.events_seen:
        told["events"] = now.events[-new:]
    if new := now.samples_seen - before.samples_seen:
        told["samples"] = now.samples[-new:]
    return told


def _change(before: Table, now: Table) -> Message:
    rows = [row for one, row in now.items() if before.get(one) != row]
    gone = [one for one in before if one not in now]
    return {name: rows for name, rows in (("set", rows), ("gone", gone)) if rows}


def pool_id(browser: str, version: str) -> str:
    """Return the name of a pool: "chromium 1.65"."""
    return f"{browser} {version}"


def _pools(look: Overview) -> Table:
    """Return the pools; who waits for any version of a browser counts for its newest pool, if there is one."""
    rows: Table = {}
    for pool in sorted(look.pools, key=lambda pool: (pool.browser, pool.version == _ANY, _order(pool.version))):
        newest = next((row for row in reversed(rows.values()) if row["browser"] == pool.browser), None)
        if pool.version == _ANY and newest:
            newest["waiting"] += pool.waiting
        else:
            policy = look.policies.get((pool.browser, pool.version), Policy())
            named = pool_id(pool.browser, pool.version)
            rows[named] = asdict(pool) | asdict(policy) | {"id": named, "kind": _kind(named, look)}
    return rows


def _kind(pool: str, look: Overview) -> str:
    """Return which kind of browser a pool has, and what a session has by default; of unlike appliances, all of it."""
    workers = [worker for worker in look.workers if pool_id(worker.browser, worker.minor) == pool]
    own = ["isolation=browser"] if any(worker.isolation == Isolation.BROWSER for worker in workers) else []
    return ", ".join([*sorted({worker.channel for worker in workers if worker.channel}), *own])


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _worker(worker: WorkerInfo) -> Row:
    row = {name: getattr(worker, name) for name in _WORKER_FIELDS}
    return row | {"pool": pool_id(worker.browser, worker.minor)}


_WORKER_FIELDS = (
    "id", "browser", "version", "appliance", "status", "active", "lifetime", "concurrency", "quota", "started_ms",
    "memory_bytes", "suspect", "stale", "reason",
)  # fmt: skip


def _appliance(one: ApplianceInfo) -> Row:
    return {
        "id": one.name,
        "status": one.status.value,
        "on_workers": one.on_workers,
        "drain_reason": one.drain_reason,
    }
