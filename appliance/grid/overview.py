"""The grid as the dashboard shows it, read once a second for as long as somebody looks.

Each read asks for what may change from one second to the next: which workers and sessions there are, and what workers
have taken. The rest of a session hardly changes, so it is read again only when it is REFRESH_MS old, or when the
session has got a slot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from appliance.grid.clock import grid_time_ms
from appliance.grid.grid import Grid
from appliance.grid.records import ApplianceInfo, PoolCapacity, WorkerInfo
from appliance.grid.story import Story
from appliance.names import minor_version

WORKERS_MOST, SESSIONS_MOST = 500, 1000  # of a larger grid only so many are shown
EVENTS_FIRST, EVENTS_MOST = 60, 200
REFRESH_MS = 4000

Pool = tuple[str, str]  # browser and Playwright minor


@dataclass(frozen=True, slots=True)
class Policy:
    """By what a pool recycles its workers; 0 for never."""

    quota: int = 0
    margin: int = 0


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at the grid. `events` are those since the last look; `sessions_total` counts all that have a slot."""

    now_ms: int = 0
    workers: tuple[WorkerInfo, ...] = ()
    sessions: tuple[Story, ...] = ()
    sessions_total: int = 0
    pools: tuple[PoolCapacity, ...] = ()
    policies: dict[Pool, Policy] = field(default_factory=dict)
    appliances: tuple[ApplianceInfo, ...] = ()
    events: tuple[dict[str, str], ...] = ()


class Reader:
    """Reads overviews."""

    def __init__(self, grid: Grid) -> None:
        """Set the grid; nothing is read yet."""
        self._grid = grid
        self._known: dict[str, tuple[Story, int, bool]] = {}  # when each was read, and whether it waited
        self._last_event = ""

    def read(self) -> Overview:
        """Read what is new; raises StoreUnavailable."""
        store = self._grid.store
        events = ("XREVRANGE", store.key("events"), "+", "-", "COUNT", EVENTS_FIRST)
        if self._last_event:
            events = ("XRANGE", store.key("events"), f"({self._last_event}", "+", "COUNT", EVENTS_MOST)
        workers, active, waiting, total, found, time, clock = store.read(
            ("ZRANGE", store.key("workers"), 0, WORKERS_MOST - 1),
            ("ZRANGE", store.key("leases"), 0, SESSIONS_MOST - 1),
            ("ZRANGE", store.key("deadlines"), 0, SESSIONS_MOST - 1),
            ("ZCARD", store.key("leases")),
            events,
            ("TIME",),
            ("GET", store.key("clock")),
        )
        now_ms = grid_time_ms(time, clock)
        pools = self._grid.capacity()
        return Overview(
            now_ms=now_ms,
            workers=tuple(self._workers(workers, now_ms)),
            sessions=tuple(self._sessions(active, waiting, now_ms)),
            sessions_total=total,
            pools=tuple(pools),
            policies=self._policies((pool.browser, minor_version(pool.version)) for pool in pools),
            appliances=tuple(self._grid.appliances()),
            events=self._new(found),
        )

    def _new(self, found: list[tuple[str, dict[str, str]]]) -> tuple[dict[str, str], ...]:
        """Return the events of an answer, the oldest first."""
        events = sorted(found, key=lambda entry: tuple(map(int, entry[0].split("-"))))
        if events:
            self._last_event = events[-1][0]
        return tuple({"id": entry_id, **fields} for entry_id, fields in events)

    def _workers(self, ids: list[str], now_ms: int) -> list[WorkerInfo]:
        store = self._grid.store
        commands: list[tuple[Any, ...]] = [("HGETALL", store.key("worker", one)) for one in ids]
        commands += [("SCARD", store.key("worker", one, "sessions")) for one in ids]
        answers = store.read(*commands) if commands else []
        found = zip(answers[: len(ids)], answers[len(ids) :], strict=True)
        return [WorkerInfo.parse(fields, active, now_ms) for fields, active in found if fields]

    def _sessions(self, active: list[str], waiting: list[str], now_ms: int) -> list[Story]:
        """Return the sessions with these ids; most are as they were when they were read last."""
        listed = dict.fromkeys(waiting, True) | dict.fromkeys(active, False)
        due = [one for one, waits in listed.items() if self._is_due(one, waits, now_ms)]
        store = self._grid.store
        answers = store.read(*[("HGETALL", store.key("session", one)) for one in due]) if due else []
        for one, fields in zip(due, answers, strict=True):
            self._known.pop(one, None)
            if fields:
                self._known[one] = (Story.parse(fields), now_ms, listed[one])
        self._known = {one: known for one, known in self._known.items() if one in listed}
        return [self._known[one][0] for one in listed if one in self._known]

    def _is_due(self, session: str, waits: bool, now_ms: int) -> bool:
        _, read_ms, waited = self._known.get(session, (None, 0, waits))
        return waits != waited or not 0 <= now_ms - read_ms < REFRESH_MS

    def _policies(self, pools: Iterable[Pool]) -> dict[Pool, Policy]:
        named = list(pools)
        store = self._grid.store
        commands = [("HMGET", store.key("policy", *pool), "quota", "margin") for pool in named]
        answers = store.read(*commands) if commands else []
        found = zip(named, answers, strict=True)
        return {pool: Policy(int(float(quota or 0)), int(float(margin or 0))) for pool, (quota, margin) in found}
