"""What Redis holds at one moment, as the model sees it."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from appliance.grid.store import SCHEMA
from appliance.names import BESIDE, Isolation, Protocol

TTL_MS = LEASE_MS = 15_000
WAIT_MS = 30_000
TARGET = {"here": 1, "there": 2}  # per appliance: how many of a team's workers serve
SPARES = 1
RETURN_MS = 30_000  # how long a worker that is gone counts as being recycled

# Keys that the model does not look at, or looks at elsewhere.
OTHERS = {"appliance", "arrivals", "clock", "kills", "lacking", "left", "presumed", "sweep", "teams"}

# Gives all keys with their contents; the events are taken away, so that each look finds the newest.
DUMP = """
local read = {
  hash = {'HGETALL'}, set = {'SMEMBERS'}, string = {'GET'}, stream = {'XRANGE', '-', '+'},
  zset = {'ZRANGE', 0, -1, 'WITHSCORES'},
}
local state = {}
for _, name in ipairs(redis.call('KEYS', '*')) do
  local command = read[redis.call('TYPE', name).ok]
  state[name] = redis.call(command[1], name, unpack(command, 2))
end
redis.call('DEL', KEYS[1])
return cjson.encode(state)
"""


def pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def suffix(minor: str) -> str:
    return BESIDE if minor.endswith(BESIDE) else ""


@dataclass
class Worker:
    """A worker, as Redis knows it."""

    id: str
    pool: tuple[str, str]
    team: tuple[str, str, str]
    full_name: str
    status: str
    lifetime: int
    concurrency: int
    quota: int
    target: int
    started: int
    heartbeat: int
    unclaimed: int = 0
    settled: int = 0
    suspect: bool = False
    sessions: set[str] = field(default_factory=set)
    apart: bool = field(default=False, compare=False)  # which only a look at the whole pool decides

    @property
    def remaining(self) -> float:
        return self.quota - self.lifetime if self.quota else math.inf


@dataclass
class Ticket:
    """A session, as Redis knows it, or one that is only just claimed."""

    id: str
    browser: str
    minor: str
    proxy: str
    state: str
    worker: str = ""
    arrival: float = math.inf
    deadline: int = 0
    asks: bool = False  # it may be served in this call, whether its proxy is known to be alive or not
    avoid: str = ""  # workers and appliances/
    rests: bool = False  # it has no place in its queue, until its proxy asks again
    isolation: str = Isolation.CONTEXT
    protocol: str = Protocol.PLAYWRIGHT
    pool: str = ""  # whose slots it gets: the minor of one, or only what is behind it, for any version
    may_wish: bool = False

    def suits(self, pool: tuple[str, str]) -> bool:
        return self.browser == pool[0] and self.pool == (pool[1] if self.minor else suffix(pool[1]))

    def may_have(self, worker: Worker) -> bool:
        return self.suits(worker.pool) and not {worker.id, f"{worker.team[2]}/"} & set(self.avoid.split())


class Model:
    """Everything that Redis holds at one moment."""

    def __init__(self, dump: dict[str, Any], now: int) -> None:
        self.now = now
        self.workers: dict[str, Worker] = {}
        self.sessions: dict[str, Ticket] = {}
        self.zsets: dict[str, dict[tuple[str, ...], dict[str, int]]] = defaultdict(dict)
        self.serving: dict[tuple[str, ...], set[str]] = {}
        self.policies: dict[tuple[str, ...], dict[str, float]] = {}
        prefix = f"{{test}}:{SCHEMA}:"
        self.events = [pairs(fields) for _, fields in dump.pop(f"{prefix}events", [])]
        history = [pairs(fields) for _, fields in dump.pop(f"{prefix}history", [])]
        self.past = [json.loads(entry["request"])["id"] for entry in history]  # the sessions that have ended
        self.apart: dict[tuple[str, ...], set[str]] = {}
        self.avoiding: dict[tuple[str, ...], set[str]] = {}
        self.wishes: dict[tuple[str, str], dict[str, str]] = {}  # by browser and minor
        held: dict[str, set[str]] = {}
        for name, content in dump.items():
            kind, *rest = name.removeprefix(prefix).split(":")
            if kind == "worker" and rest[1:] == ["sessions"]:
                held[rest[0]] = set(content)
            elif kind == "worker":
                self.workers[rest[0]] = self._worker(pairs(content))
            elif kind == "session":
                self.sessions[rest[0]] = self._ticket(pairs(content))
            elif kind in ("serving", "apart", "avoiding"):
                getattr(self, kind)[tuple(rest)] = set(content)
            elif kind == "policy":
                self.policies[tuple(rest)] = {field: float(value) for field, value in pairs(content).items()}
            elif kind == "wanted" and rest:
                self.wishes[rest[0], rest[1]] = pairs(content)
            elif kind not in OTHERS:
                self.zsets[kind][tuple(rest)] = {member: int(score) for member, score in pairs(content).items()}
        self.runs = {
            name.rpartition(":")[2]: pairs(text)["run"] for name, text in dump.items() if ":appliance:" in name
        }
        for worker, sessions in held.items():
            self.workers[worker].sessions = sessions  # fails if the worker is gone and its set is not
        self._find_who_rests()

    def _find_who_rests(self) -> None:
        queued = {session for queue in self.zsets["queue"].values() for session in queue}
        for ticket in self.waiting():
            ticket.rests = ticket.id not in queued

    def _worker(self, f: dict[str, str]) -> Worker:
        pool, team = (f["browser"], f["minor"]), (f["browser"], f["minor"], f["appliance"])
        numbers = (int(f[name]) for name in ("lifetime", "concurrency", "quota", "target", "started", "heartbeat"))
        unclaimed = (int(f.get(name, 0)) for name in ("unclaimed", "settled"))
        full_name = f"{f['appliance']}/{f['name']}"
        flags = {name: name in f for name in ("suspect", "apart")}
        return Worker(f["id"], pool, team, full_name, f["status"], *numbers, *unclaimed, **flags)

    def _ticket(self, f: dict[str, str]) -> Ticket:
        request = json.loads(f["request"])
        text = (request[name] for name in ("id", "browser", "minor", "proxy"))
        avoid = f.get("avoid", request.get("avoid", "")) if f["status"] == "waiting" else ""
        kind = {name: request[name] for name in ("isolation", "protocol", "may_wish")}
        return Ticket(*text, f["status"], f["worker"], int(f["arrival"]), int(f["deadline"]), avoid=avoid, **kind,
                      pool=f.get("pool", request["minor"]))  # fmt: skip

    def zset(self, kind: str, *name: str) -> dict[str, int]:
        return self.zsets[kind].get(name, {})

    @property
    def drained(self) -> dict[str, int]:
        """Return since when which appliances are drained."""
        return self.zsets["drained"].setdefault((), {})

    def target(self, worker: Worker) -> int:
        """Return how many workers of its team are to serve."""
        return 0 if worker.team[2] in self.drained else worker.target

    def is_fresh(self, worker: Worker) -> bool:
        return self.now - worker.heartbeat <= TTL_MS

    def taken(self, worker: Worker) -> int:
        """Count a worker's slots that sessions hold, or connections that a proxy has yet to assert."""
        return len(worker.sessions) + (worker.unclaimed if worker.settled > self.now else 0)

    def is_outdated(self, worker: Worker) -> bool:
        """Return whether time alone may have made room, which the next heartbeat will find."""
        return worker.unclaimed > 0 and worker.settled <= self.now

    def is_placed(self, worker: Worker) -> bool:
        """Return whether a worker belongs into its pool, as long as its heartbeats come."""
        has_room = self.taken(worker) < worker.concurrency and worker.remaining >= 1
        return worker.status == "available" and not worker.suspect and has_room

    def rank(self, worker: Worker) -> tuple[float, int]:
        return worker.remaining, self.taken(worker)

    def claimable(self, pool: tuple[str, str]) -> list[Worker]:
        return [w for w in self.workers.values() if w.pool == pool and self.is_placed(w) and self.is_fresh(w)]

    def surely_claimable(self, pool: tuple[str, str]) -> list[Worker]:
        return [worker for worker in self.claimable(pool) if not self.is_outdated(worker)]

    def surely_claimable_by(self, ticket: Ticket, pool: tuple[str, str]) -> list[Worker]:
        return [worker for worker in self.surely_claimable(pool) if ticket.may_have(worker)]

    def is_alive(self, ticket: Ticket) -> bool:
        return self.zset("proxies").get(ticket.proxy, 0) >= self.now and ticket.deadline >= self.now

    def waiting(self) -> list[Ticket]:
        return [ticket for ticket in self.sessions.values() if ticket.state == "waiting"]

    def offered(self, browser: str) -> set[str]:
        return {minor for minor, until in self.zset("offers", browser).items() if until >= self.now}

    def pool_of(self, browser: str, minor: str, isolation: str) -> str:
        """Return the pool of a session that claims now: with isolation=browser the one beside, if that is there."""
        offered = self.offered(browser)
        is_there = minor + BESIDE in offered if minor else any(suffix(one) for one in offered)
        return minor + BESIDE * (isolation == Isolation.BROWSER and is_there)

    def queue_length(self, browser: str) -> int:
        """Count the waiting; those for a version that nobody offers any more do not crowd out the others."""
        offered = self.offered(browser)
        wished = {name.split()[1] for name in self.zset("wanted") if name.startswith(f"{browser} ")}
        queues = {"", *offered, *map(suffix, offered), *wished}
        return sum(t.browser == browser and t.pool in queues and not t.rests for t in self.waiting())

    def is_offered(self, ticket: Ticket) -> bool:
        return any(ticket.suits((ticket.browser, minor)) for minor in self.offered(ticket.browser))

    def may_be_wished(self, ticket: Ticket) -> bool:
        """Return whether a session of a version that nobody offers may wait for an appliance to get it."""
        wish = self.wishes.get((ticket.browser, ticket.minor), {"status": ""})
        is_refused = wish["status"] == "failed" and int(wish["retry_at"]) > self.now
        is_provided = any(until >= self.now for until in self.zset("providers", ticket.minor).values())
        return ticket.may_wish and is_provided and not is_refused

    def is_held(self, wish: tuple[str, str]) -> bool:
        fields = self.wishes[wish]
        return fields["status"] == "held" and int(fields["held_until"]) >= self.now

    def active(self) -> dict[str, str]:
        return {ticket.id: ticket.worker for ticket in self.sessions.values() if ticket.state == "active"}

    def recycling(self, pool: tuple[str, str]) -> dict[str, int]:
        """Return until when each of a pool's workers counts as away, by full name; what is over may still be noted."""
        return self.zsets["recycling"].setdefault(pool, {})

    def mark(self, worker: Worker, until: int | None) -> None:
        """Note that a worker counts as away, or no longer; if that changes anything, what is over is forgotten."""
        recycling = self.recycling(worker.pool)
        if until is None or worker.team[2] in self.drained:
            if recycling.pop(worker.full_name, None) is None:
                return
        else:
            recycling[worker.full_name] = until
        for name in [name for name, end in recycling.items() if end < self.now]:
            del recycling[name]

    def margin(self, pool: tuple[str, str]) -> int:
        workers = sum(w.pool == pool and w.status == "available" for w in self.workers.values())
        policy = self.policies[pool]
        margin = max(1, int(policy.get("quota", 0)) // max(1, workers))
        return 0 if margin < policy.get("demand", 0) <= policy.get("quota", 0) else margin

    def missing(self, pool: tuple[str, str]) -> int:
        """Count the workers that are being recycled and whose place no spare has taken."""
        away = Counter(name.partition("/")[0] for name, until in self.recycling(pool).items() if until >= self.now)
        serving = Counter(w.team[2] for w in self.workers.values() if w.pool == pool and w.status == "available")
        targets = {name: 0 if name in self.drained else TARGET[name] for name in away}
        return sum(max(0, min(away[name], targets[name] - serving[name])) for name in away)

    def best(self, ticket: Ticket, pool: tuple[str, str], apart: set[str]) -> tuple[float, int]:
        """Return remaining and active sessions of the workers that the rule of selection names for a session."""
        workers = self.surely_claimable_by(ticket, pool)
        ranks = [self.rank(worker) for worker in workers]
        spread = [rank for rank, w in zip(ranks, workers, strict=True) if w.id in apart]
        if spread := [rank for rank in spread if rank[0] >= 2]:
            return min(spread, key=lambda rank: (rank[1], rank[0]))
        is_recycling = any(until >= self.now for until in self.recycling(pool).values())
        spared = [rank for rank in ranks if rank[0] >= 2] if is_recycling else []
        return min([rank for rank in spared or ranks if rank[0] > self.margin(pool)] or spared or ranks)
