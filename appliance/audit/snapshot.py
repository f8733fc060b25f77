"""What Redis says of workers, slots, leases and waiting sessions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from appliance.grid import viewers
from appliance.grid.grid import Grid
from appliance.grid.records import SessionInfo, WorkerInfo
from appliance.grid.store import Store
from appliance.names import BESIDE, Browser

Pool = tuple[str, str]  # browser and minor; in a queue's name, "" or BESIDE alone stands for any version

_BLOCKED = 2**52  # from this score on, a pool's workers are available, but not claimable (pools.lua)
_MOST_KEYS_SEARCHED = 10_000  # a Redis with more is shared with others, and a search would hold it up


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What Redis said in one look; times are milliseconds of the grid's clock.

    `slots` are the sessions that hold a worker's slots, `pools` the claimable workers. `unclaimed` counts further slots
    of a worker that are taken, by sessions that Redis has lost. `drained` names appliances. `viewers` look at the
    sessions of a worker. `stored_sessions` are the sessions, `stored_slots` the workers with slots, that any key names;
    None if Redis has too many keys to search.
    """

    now_ms: int = 0
    workers: tuple[WorkerInfo, ...] = ()
    sessions: tuple[SessionInfo, ...] = ()
    leases: dict[str, float] = field(default_factory=dict)
    deadlines: dict[str, float] = field(default_factory=dict)
    proxies: dict[str, float] = field(default_factory=dict)
    slots: dict[str, frozenset[str]] = field(default_factory=dict)
    pools: dict[Pool, frozenset[str]] = field(default_factory=dict)
    queues: dict[Pool, tuple[str, ...]] = field(default_factory=dict)
    unclaimed: dict[str, int] = field(default_factory=dict)
    drained: frozenset[str] = frozenset()
    viewers: dict[str, frozenset[str]] = field(default_factory=dict)
    stored_sessions: frozenset[str] | None = None
    stored_slots: frozenset[str] | None = None

    def taken(self, worker: WorkerInfo) -> int:
        """Count the slots of a worker that cannot be claimed."""
        return len(self.slots.get(worker.id, ())) + self.unclaimed.get(worker.id, 0)


def read(grid: Grid) -> Snapshot:
    """Read it from Redis; raises StoreUnavailable."""
    store = grid.store
    workers, sessions = grid.workers(), grid.sessions()
    pools = {(worker.browser, worker.minor) for worker in workers}
    queues = _queues(pools, sessions)
    commands: dict[Any, tuple[Any, ...]] = {
        **{name: ("ZRANGE", store.key(name), 0, -1, "WITHSCORES") for name in ("leases", "deadlines", "proxies")},
        "drained": ("ZRANGE", store.key("drained"), 0, -1),
        "viewers": ("ZRANGE", store.key("viewers"), 0, -1),
        **{("slots", worker.id): ("SMEMBERS", store.key("worker", worker.id, "sessions")) for worker in workers},
        **{worker.id: ("HMGET", store.key("worker", worker.id), "unclaimed", "settled") for worker in workers},
        **{("pool", *pool): ("ZRANGEBYSCORE", store.key("pool", *pool), "-inf", f"({_BLOCKED}") for pool in pools},
        **{("queue", *queue): ("ZRANGE", store.key("queue", *queue), 0, -1) for queue in queues},
    }
    answers = dict(zip(commands, store.read(*commands.values()), strict=True))
    now_ms = grid.now_ms()
    return Snapshot(
        now_ms=now_ms,
        workers=tuple(workers),
        sessions=tuple(sessions),
        leases=_scores(answers["leases"]),
        deadlines=_scores(answers["deadlines"]),
        proxies=_scores(answers["proxies"]),
        drained=frozenset(answers["drained"]),
        viewers=viewers.by_worker(answers["viewers"]),
        slots={worker.id: frozenset(answers["slots", worker.id]) for worker in workers},
        pools={pool: frozenset(answers["pool", *pool]) for pool in pools},
        queues={queue: tuple(answers["queue", *queue]) for queue in queues},
        unclaimed={worker.id: _unclaimed(answers[worker.id], now_ms) for worker in workers},
        **_search(store),
    )


def _queues(pools: Iterable[Pool], sessions: Iterable[SessionInfo]) -> set[Pool]:
    """Return all queues in which a session may wait."""
    named = {(session.browser, session.pool or session.minor) for session in sessions}
    return {*pools, *named, *((browser.value, any_version) for browser in Browser for any_version in ("", BESIDE))}


def _unclaimed(fields: list[str | None], now_ms: int) -> int:
    """Return how many connections of a worker belong to sessions that proxies may still assert."""
    number, until_ms = fields
    return int(number or 0) if float(until_ms or 0) > now_ms else 0


def _scores(flat: list[Any]) -> dict[str, float]:
    """Read the answer of ZRANGE WITHSCORES."""
    return {member: float(score) for member, score in zip(flat[::2], flat[1::2], strict=True)}


def _search(store: Store) -> dict[str, frozenset[str] | None]:
    """Return the ids of all sessions, and of all workers with taken slots, that have a key."""
    if store.read(("DBSIZE",))[0] > _MOST_KEYS_SEARCHED:
        return {"stored_sessions": None, "stored_slots": None}
    names: set[str] = set()
    cursor = None
    while cursor != 0:
        cursor, found = store.read(("SCAN", cursor or 0, "MATCH", store.key("*"), "COUNT", 1000))[0]
        names.update(name.removeprefix(store.prefix) for name in found)
    sessions = (name.removeprefix("session:") for name in names if name.startswith("session:"))
    slots = (name[len("worker:") : -len(":sessions")] for name in names if _is_slots(name))
    return {"stored_sessions": frozenset(sessions), "stored_slots": frozenset(slots)}


def _is_slots(name: str) -> bool:
    return name.startswith("worker:") and name.endswith(":sessions")
