"""The whole Lua library on a real Redis, in random order, against a model in Python.

The model replays each call's events over what Redis held before it, one by one, and asks of each
whether it was allowed: was this worker the one that the rule of selection names, and this session the
longest-waiting one. What it arrives at must be what Redis holds afterwards, and that must be consistent.

Time is the test's own: the library is loaded with its one look at the clock replaced.

Run it longer, with new random examples each time: MODEL_EXAMPLES=2000 pytest tests/integration/test_model.py
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from appliance.errors import Blame
from appliance.grid import store as store_module
from appliance.grid.grid import Grid as State
from appliance.grid.store import Store
from appliance.grid.values import Grant, SessionRequest, WorkerSpec, WorkerStatus
from appliance.names import Browser
from tests.support.announced import announcement

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
TTL_MS = LEASE_MS = 15_000
WAIT_MS = 30_000
BEGINNING_MS = 1_800_000_000_000
LOOK_AT_THE_CLOCK = "redis.call('TIME')"
TARGET = {"here": 1, "there": 2}  # per appliance: how many of a team's workers serve
SPARES = 1
RETURN_MS = 30_000  # how long a worker that is gone counts as being recycled
CROWDED, BLOCKED = 2**50, 2**52  # of scores, as in pools.lua

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


@dataclass
class Worker:
    """A worker, as Redis knows it."""

    id: str
    pool: tuple[str, str]
    team: tuple[str, str, str]
    slot: str
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

    def suits(self, pool: tuple[str, str]) -> bool:
        return self.browser == pool[0] and self.minor in ("", pool[1])

    def may_have(self, worker: Worker) -> bool:
        return self.suits(worker.pool) and not {worker.id, f"{worker.team[2]}/"} & set(self.avoid.split())


class Grid:
    """Everything that Redis holds at one moment."""

    def __init__(self, dump: dict[str, Any], now: int) -> None:
        self.now = now
        self.workers: dict[str, Worker] = {}
        self.sessions: dict[str, Ticket] = {}
        self.zsets: dict[str, dict[tuple[str, ...], dict[str, int]]] = defaultdict(dict)
        self.serving: dict[tuple[str, ...], set[str]] = {}
        self.policies: dict[tuple[str, ...], dict[str, float]] = {}
        self.events: list[dict[str, str]] = []
        self.apart: dict[tuple[str, ...], set[str]] = {}
        self.avoiding: dict[tuple[str, ...], set[str]] = {}
        held: dict[str, set[str]] = {}
        for name, content in dump.items():
            kind, *rest = name.removeprefix(f"{{test}}:{store_module.SCHEMA}:").split(":")
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
            elif kind == "events":
                self.events = [pairs(fields) for _, fields in content]
            elif kind not in ("appliance", "arrivals", "clock", "left", "kills", "sweep", "teams"):
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
        slot = f"{f['appliance']}/{f['slot']}"
        flags = {name: name in f for name in ("suspect", "apart")}
        return Worker(f["id"], pool, team, slot, f["status"], *numbers, *unclaimed, **flags)

    def _ticket(self, f: dict[str, str]) -> Ticket:
        request = json.loads(f["request"])
        text = (request[name] for name in ("id", "browser", "minor", "proxy"))
        avoid = f.get("avoid", request.get("avoid", "")) if f["state"] == "waiting" else ""
        return Ticket(*text, f["state"], f["worker"], int(f["arrival"]), int(f["deadline"]), avoid=avoid)

    def zset(self, kind: str, *name: str) -> dict[str, int]:
        return self.zsets[kind].get(name, {})

    @property
    def drained(self) -> dict[str, int]:
        """Give since when which appliances are drained."""
        return self.zsets["drained"].setdefault((), {})

    def target(self, worker: Worker) -> int:
        """Tell how many workers of its team are to serve."""
        return 0 if worker.team[2] in self.drained else worker.target

    def is_fresh(self, worker: Worker) -> bool:
        return self.now - worker.heartbeat <= TTL_MS

    def taken(self, worker: Worker) -> int:
        """Count a worker's slots that sessions hold, or connections that a proxy has yet to assert."""
        return len(worker.sessions) + (worker.unclaimed if worker.settled > self.now else 0)

    def is_outdated(self, worker: Worker) -> bool:
        """Tell whether time alone may have made room, which the next heartbeat will find."""
        return worker.unclaimed > 0 and worker.settled <= self.now

    def is_placed(self, worker: Worker) -> bool:
        """Tell whether a worker belongs into its pool, as long as its heartbeats come."""
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

    def queue_length(self, browser: str) -> int:
        """Count the waiting; those for a version that nobody offers any more do not crowd out the others."""
        offered = {minor for minor, until in self.zset("offers", browser).items() if until >= self.now}
        return sum(t.browser == browser and t.minor in {"", *offered} and not t.rests for t in self.waiting())

    def active(self) -> dict[str, str]:
        return {ticket.id: ticket.worker for ticket in self.sessions.values() if ticket.state == "active"}

    def recycling(self, pool: tuple[str, str]) -> dict[str, int]:
        """Give until when each of a pool's slots counts as being recycled; what is over may still be noted."""
        return self.zsets["recycling"].setdefault(pool, {})

    def mark(self, worker: Worker, until: int | None) -> None:
        """Note that a worker's slot is being recycled, or no longer; what is over is forgotten then."""
        recycling = self.recycling(worker.pool)
        for slot in [slot for slot, end in recycling.items() if end < self.now]:
            del recycling[slot]
        if until is None or worker.team[2] in self.drained:
            recycling.pop(worker.slot, None)
        elif until >= self.now:
            recycling[worker.slot] = until

    def margin(self, pool: tuple[str, str]) -> int:
        workers = sum(w.pool == pool and w.status == "available" for w in self.workers.values())
        policy = self.policies[pool]
        margin = max(1, int(policy.get("quota", 0)) // max(1, workers))
        return 0 if margin < policy.get("demand", 0) <= policy.get("quota", 0) else margin

    def missing(self, pool: tuple[str, str]) -> int:
        """Count the workers that are being recycled and whose place no spare has taken."""
        away = Counter(slot.partition("/")[0] for slot, until in self.recycling(pool).items() if until >= self.now)
        serving = Counter(w.team[2] for w in self.workers.values() if w.pool == pool and w.status == "available")
        targets = {name: 0 if name in self.drained else TARGET[name] for name in away}
        return sum(max(0, min(away[name], targets[name] - serving[name])) for name in away)

    def best(self, ticket: Ticket, pool: tuple[str, str], apart: set[str]) -> tuple[float, int]:
        """Give remaining and active sessions of the workers that the rule of selection names for a session."""
        workers = self.surely_claimable_by(ticket, pool)
        ranks = [self.rank(worker) for worker in workers]
        spread = [rank for rank, w in zip(ranks, workers, strict=True) if w.id in apart]
        if spread := [rank for rank in spread if rank[0] >= 2]:
            return min(spread, key=lambda rank: (rank[1], rank[0]))
        is_recycling = any(until >= self.now for until in self.recycling(pool).values())
        spared = [rank for rank in ranks if rank[0] >= 2] if is_recycling else []
        return min([rank for rank in spared or ranks if rank[0] > self.margin(pool)] or spared or ranks)

    # ── What must hold at any moment ──────────────────────────────────────────────────────────────

    def check(self) -> None:
        self._check_sessions()
        self._check_pools()
        self._check_teams()

    def _check_sessions(self) -> None:
        for worker in self.workers.values():
            assert worker.status != "available" or worker.remaining >= 1
        assert {i: w.id for w in self.workers.values() for i in w.sessions} == self.active()
        assert self.zset("leases").keys() == self.active().keys()
        queues = {(*name[:2], *(name[2:] or [""])): queue for name, queue in self.zsets["queue"].items()}
        queued = [(i, *name, arrival) for name, queue in queues.items() for i, arrival in queue.items()]
        waiting = [t for t in self.waiting() if not t.rests]
        assert sorted(queued) == sorted((t.id, t.browser, t.minor, t.avoid, t.arrival) for t in waiting)
        for ticket in waiting:
            assert not ticket.avoid or f"{ticket.minor} {ticket.avoid}" in self.avoiding[(ticket.browser,)]
        assert self.zset("deadlines") == {ticket.id: ticket.deadline for ticket in self.waiting()}

    def _check_pools(self) -> None:
        """A worker whose heartbeat is overdue may stay claimable until somebody looks at it."""
        assert self.zset("workers") == {worker.id: worker.heartbeat + TTL_MS for worker in self.workers.values()}
        pools = {worker.pool for worker in self.workers.values()} | self.zsets["pool"].keys()
        for pool in pools:
            available = {w.id: w for w in self.workers.values() if w.pool == pool and w.status == "available"}
            scores = self.zset("pool", *pool)
            assert scores.keys() == available.keys()
            for worker in available.values():
                assert self.is_outdated(worker) or scores[worker.id] in self._scores(worker)
            assert self.policies[pool]["margin"] == self.margin(pool)
            assert {worker.id for worker in available.values() if worker.apart} <= self.apart.get(pool, set())
            assert self.policies[pool]["recycles_until"] == max(self.recycling(pool).values(), default=0)
            draining = {w.slot for w in self.workers.values() if w.pool == pool and w.status == "draining"}
            draining -= {slot for slot in draining if slot.partition("/")[0] in self.drained}
            fresh = {w.slot for w in self.workers.values() if w.slot in draining and self.is_fresh(w)}
            assert fresh <= self.recycling(pool).keys()
            for worker in self.surely_claimable(pool):
                assert not [t for t in self.waiting() if t.may_have(worker) and self.is_alive(t) and not t.rests]
        for worker in self.workers.values():
            if self.is_fresh(worker):
                assert self.zset("appliances")[worker.team[2]] >= self.now
            if self.is_fresh(worker) and worker.team[2] not in self.drained:
                assert self.zset("offers", worker.pool[0])[worker.pool[1]] >= self.now

    def _scores(self, worker: Worker) -> set[int]:
        """Give the scores that a worker may have: which of them, time alone may have changed."""
        remaining, taken = int(min(max(0, self.rank(worker)[0]), 2**36)), self.taken(worker)
        score = remaining * 4096 + taken
        if not self.is_placed(worker):
            return {score + BLOCKED}
        claimable = taken * 2**37 + remaining if worker.apart and remaining >= 2 else score + CROWDED
        return {claimable} if self.is_fresh(worker) else {claimable, score + BLOCKED}

    def _check_teams(self) -> None:
        """A spare whose heartbeat is overdue is forgotten by its team until the next one comes."""
        teams = {worker.team for worker in self.workers.values()}
        assert self.serving.keys() | self.zsets["standby"].keys() <= teams
        for team in teams:
            mine = [worker for worker in self.workers.values() if worker.team == team]
            serving = {worker.id for worker in mine if worker.status == "available"}
            spare = {worker.id for worker in mine if worker.status == "standby"}
            fresh = {worker.id for worker in mine if worker.id in spare and self.is_fresh(worker)}
            assert self.serving.get(team, set()) == serving
            assert fresh <= self.zset("standby", *team).keys() <= spare
            assert len(serving) >= self.target(mine[0]) or not fresh
            assert not (serving and team[2] in self.drained)


class Replay:
    """One call's events, applied to what Redis held before it; `grid` becomes what it should hold now."""

    def __init__(self, grid: Grid, after: Grid) -> None:
        self.grid = grid
        self.after = after
        self.leaving = [e["worker"] for e in after.events if e["event"] == "worker.ended"]

    def run(self) -> None:
        self.grid.policies = self.after.policies  # the quota, which only a registration changes, and first of all
        self._next_leaves()
        for event in self.after.events:
            name = "_" + event.pop("event").replace(".", "_")
            getattr(self, name)(**event)
        self._compare()

    def _next_leaves(self) -> None:
        """Take the next worker out that ends: its slots and its place in the team are gone before its end."""
        if self.leaving:
            worker = self.grid.workers[self.leaving[0]]
            is_awaited = self.grid.recycling(worker.pool).get(worker.slot, 0) >= self.grid.now
            if worker.status != "draining" or is_awaited:  # else its slot has another worker already
                self.grid.mark(worker, self.grid.now + RETURN_MS)
            worker.status = "gone"

    def _worker_started(self, worker: str, **_: str) -> None:
        known = self.grid.workers[worker]  # the step has put it there
        self.grid.mark(known, self.grid.now + TTL_MS if known.status == "draining" else None)

    def _worker_ended(self, worker: str, **_: str) -> None:
        ended = self.grid.workers.pop(worker)
        assert not ended.sessions
        self.leaving.remove(worker)
        self._next_leaves()

    def _worker_draining(self, worker: str, reason: str) -> None:
        known = self.grid.workers[worker]
        assert reason in ("operator", "quota reached", "recycled early") or known.team[2] in self.grid.drained
        if reason == "quota reached":
            assert known.remaining <= 0
        if reason == "recycled early":
            others = [w for w in self.grid.workers.values() if w.pool == known.pool and w.status == "available"]
            assert known.remaining <= min(known.quota / 3, *(w.remaining for w in others))
            assert len(others) > 1
            has_spare = any(w.team == known.team and w.status == "standby" for w in self.grid.workers.values())
            assert has_spare or not self.grid.missing(known.pool)
        known.status = "draining"
        self.grid.mark(known, self.grid.now + TTL_MS)

    def _worker_promoted(self, worker: str) -> None:
        spare = self.grid.workers[worker]
        team = [w for w in self.grid.workers.values() if w.team == spare.team]
        assert spare.status == "standby"
        assert self.grid.is_fresh(spare)
        assert sum(w.status == "available" for w in team) < self.grid.target(spare)
        others = [w.started for w in team if w.status == "standby" and self.grid.is_fresh(w)]
        assert spare.started == min(others)
        spare.status = "available"

    def _appliance_drained(self, appliance: str, **_: str) -> None:
        self.grid.drained[appliance] = self.grid.now
        for worker in self.grid.workers.values():
            if worker.team[2] == appliance:
                self.grid.mark(worker, None)

    def _appliance_undrained(self, appliance: str) -> None:
        del self.grid.drained[appliance]
        for worker in self.grid.workers.values():
            if worker.team[2] == appliance and worker.status == "draining":
                self.grid.mark(worker, self.grid.now + TTL_MS)

    def _session_ended(self, session: str, worker: str, reason: str, **_: str) -> None:
        del self.grid.sessions[session]
        lease = self.grid.zset("leases")[session]
        assert reason == "released" or self.grid.workers[worker].status == "gone" or lease <= self.grid.now
        self.grid.workers[worker].sessions.remove(session)

    def _session_started(self, session: str, worker: str) -> None:
        grid, ticket, chosen = self.grid, self.grid.sessions[session], self.grid.workers[worker]
        assert ticket.state in ("claimed", "waiting")
        assert ticket.may_have(chosen)
        assert not ticket.rests
        assert ticket.asks or grid.is_alive(ticket) or self.after.is_alive(ticket)
        rivals = [t for t in grid.waiting() if t.may_have(chosen) and grid.is_alive(t) and not t.rests]
        assert all(rival.arrival >= ticket.arrival for rival in rivals), "it overtook one that waits longer"
        if ticket.state == "claimed":
            newer = [w.pool for w in grid.workers.values() if ticket.suits(w.pool) and w.pool > chosen.pool]
            assert not any(grid.surely_claimable_by(ticket, pool) for pool in newer), "a newer version was free"
        assert chosen in grid.claimable(chosen.pool)
        looks = [{w.id for w in each.workers.values() if w.apart} for each in (grid, self.after)]  # at most one a call
        assert grid.is_outdated(chosen) or grid.rank(chosen) in [grid.best(ticket, chosen.pool, a) for a in looks]
        if any(w.pool == chosen.pool and w.status == "draining" for w in grid.workers.values()):
            third = [w for w in grid.surely_claimable_by(ticket, chosen.pool) if w.remaining >= 2]
            assert chosen.remaining != 1 or not third, "it is drained although another drains and a third was free"
        ticket.state, ticket.worker, ticket.avoid = "active", worker, ""
        chosen.sessions.add(session)
        chosen.lifetime += 1

    def _session_given_back(self, session: str, worker: str, **_: str) -> None:
        assert self.grid.sessions[session].rests  # the step has done all that it changes
        assert session not in self.grid.workers[worker].sessions

    def _worker_over_admitted(self, worker: str, **_: str) -> None:
        known = self.grid.workers[worker]
        assert len(known.sessions) > known.concurrency

    def _compare(self) -> None:
        assert self.grid.workers == self.after.workers
        assert self.after.drained.items() <= self.grid.drained.items()
        assert not [name for name in self.after.drained if name not in self.after.zset("appliances")]
        assert self.grid.active() == self.after.active()
        for pool, noted in self.after.zsets["recycling"].items():
            expected = self.grid.recycling((pool[0], pool[1]))
            assert {slot: end for slot, end in expected.items() if end >= self.grid.now}.items() <= noted.items()
            assert noted.items() <= expected.items()  # what is over may still be noted
        claimed = {ticket.id for ticket in self.grid.sessions.values() if ticket.state == "claimed"}
        waiting = {ticket.id: ticket for ticket in self.grid.waiting()}
        for ticket in self.after.waiting():
            if ticket.id in claimed:
                assert all(ticket.arrival > w.arrival for w in waiting.values() if w.browser == ticket.browser)
            else:
                before = waiting.pop(ticket.id)
                assert (before.arrival, before.rests) == (ticket.arrival, ticket.rests)
                assert ticket.rests or before.avoid == ticket.avoid
        assert not [name for name in waiting if self.grid.is_alive(waiting[name])]


class Client(Ticket):
    """A client in its proxy: what the proxy believes of its session."""

    grant: Grant | None = None

    @property
    def request(self) -> SessionRequest:
        return SessionRequest(Browser(self.browser), self.minor)


QUOTAS = st.sampled_from([0, 1, 2, 3, 5, 9])
FIREFOX_POOLS = [("firefox", "1.65.1"), ("firefox", "1.64.2")]
ANY = st.integers(0, 999)  # which of those that there are
ANY_SILENCE_S = 1e9  # each jump of time counts in full
STEPS_MS = (1, 1, 4_000, 4_000, 7_500, 15_000, 15_001)  # so that times are met exactly, and just missed


class Everyone(RuleBasedStateMachine):
    """Workers, proxies and clients that do what they may do, at any time."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.state = State(self.store)
        self.processes: list[WorkerSpec] = []
        self.clients: list[Client] = []
        self.proxies = ["p0", "p1", "p2"]
        self.killed: dict[str, str] = {}  # by session, the proxy that has been told
        self.named = 0
        self.counts_connections = True
        self.runs = dict.fromkeys(TARGET, "1")
        self.remembered = dict.fromkeys(TARGET, False)  # by each appliance: whether it is drained
        self.now = BEGINNING_MS
        self.lose_everything()

    def name(self, letter: str) -> str:
        self.named += 1
        return f"{letter}{self.named}"

    def set_clock(self, now: int) -> None:
        self.now = self.grid.now = now
        self.store.read(("SET", "clock", now))

    def look(self) -> Grid:
        return Grid(json.loads(self.store.read(("EVAL", DUMP, 1, self.store.key("events")))[0]), self.now)

    def settle(self) -> None:
        """Compare what the last call made of Redis with what it should have."""
        after = self.look()
        Replay(self.grid, after).run()
        after.check()
        self.grid = after

    # ── Workers ───────────────────────────────────────────────────────────────────────────────────

    def register(self, process: WorkerSpec) -> None:
        place = self.processes.index(process)
        known = self.grid.workers.get(process.id)
        connected = [c for c in self.clients if c.grant and c.grant.worker_id == process.id]
        connections = len(connected) if self.counts_connections else 0
        run, drained = self.runs[process.appliance], self.remembered[process.appliance]
        if self.grid.runs.get(process.appliance) == run:
            drained = process.appliance in self.grid.drained
        memory = {"run": run, "drained": self.remembered[process.appliance]}
        process = self.processes[place] = replace(process, connections=connections, settle_ms=LEASE_MS, **memory)
        if not known:
            pool = (process.browser.value, process.minor)
            numbers = (process.lifetime, process.concurrency, process.quota, process.target)
            unclaimed = (process.connections, self.now + process.settle_ms) if process.connections else (0, 0)
            times = (self.now, self.now, *unclaimed)
            slot = f"{process.appliance}/{process.slot}"
            known = Worker(process.id, pool, (*pool, process.appliance), slot, process.status.value, *numbers, *times)
            self.grid.workers[process.id] = known
        known.heartbeat, known.suspect, known.lifetime = self.now, False, max(process.lifetime, known.lifetime)
        status = self.state.register_worker(process)
        self.mark_draining(known)
        self.settle()
        assert (process.appliance in self.grid.drained) == drained
        self.remember(process, status, process.lifetime)

    def mark_draining(self, worker: Worker) -> None:
        if worker.status == "draining":
            self.grid.mark(worker, self.now + TTL_MS)

    def remember(self, process: WorkerSpec, status: WorkerStatus, lifetime: int) -> None:
        known = self.grid.workers[process.id]
        assert status == known.status
        assert lifetime <= known.lifetime
        place = self.processes.index(process)
        self.processes[place] = replace(process, status=status, lifetime=max(lifetime, process.lifetime))

    @initialize(sizes=st.lists(st.tuples(st.integers(1, 3), QUOTAS), min_size=3, max_size=3), clients=st.integers(0, 4))
    def begin_with_a_busy_pool(self, sizes: list[tuple[int, int]], clients: int) -> None:
        """Spare the search the way to where most happens: a team with its spare, clients and another pool."""
        for version, size in zip(("1.65.0", "1.65.0", "1.64.2"), sizes, strict=True):
            self.start_worker(("chromium", version), "here", *size)
        self.claim(0, "chromium", "1.65", 100, clients)

    @precondition(lambda self: len(self.processes) < 9)
    @rule(
        pool=st.sampled_from([*[("chromium", "1.65.0")] * 3, ("chromium", "1.64.2"), *FIREFOX_POOLS]),
        appliance=st.sampled_from(sorted(TARGET)),
        concurrency=st.integers(1, 3),
        quota=QUOTAS,
    )
    def start_worker(self, pool: tuple[str, str], appliance: str, concurrency: int, quota: int) -> None:
        name = self.name("w")
        place = (name, Browser(pool[0]), pool[1], appliance, name)
        self.processes.append(WorkerSpec(*place, concurrency, quota, TTL_MS, 1, TARGET[appliance], SPARES))
        self.register(self.processes[-1])

    @precondition(lambda self: self.processes)
    @rule(which=ANY)
    def register_again(self, which: int) -> None:
        self.register(self.processes[which % len(self.processes)])

    def beat(self, process: WorkerSpec, healthy: bool) -> None:
        known = self.grid.workers.get(process.id)
        if known:
            known.heartbeat, known.suspect = self.now, known.suspect and not healthy
            self.mark_draining(known)
        answer = self.state.heartbeat_worker(process.id, 0, healthy=healthy)
        self.settle()
        assert (answer is None) == (known is None)
        if answer:
            self.remember(process, WorkerStatus(answer["status"]), answer["lifetime"])
        else:
            self.register(process)

    @precondition(lambda self: self.processes)
    @rule(which=ANY, healthy=st.booleans())
    def heartbeat(self, which: int, healthy: bool) -> None:
        self.beat(self.processes[which % len(self.processes)], healthy)

    @precondition(lambda self: self.processes)
    @rule(which=ANY)
    def drain(self, which: int) -> None:
        process = self.processes[which % len(self.processes)]
        known = self.grid.workers.get(process.id)
        active = self.state.drain_worker(process.id, "operator")
        self.settle()
        assert active == (len(known.sessions) if known else None)
        if known:
            self.remember(process, WorkerStatus.DRAINING, known.lifetime)

    @precondition(lambda self: self.processes)
    @rule(which=ANY, silently=st.booleans())
    def crash(self, which: int, silently: bool) -> None:
        process = self.processes.pop(which % len(self.processes))
        if not silently:
            self.state.remove_worker(process.id, "crashed")
            self.settle()
            assert process.id not in self.grid.workers

    # ── Appliances ────────────────────────────────────────────────────────────────────────────────

    @rule(appliance=st.sampled_from(sorted(TARGET)), drains=st.booleans(), heard=st.booleans())
    def drain_or_undrain_appliance(self, appliance: str, drains: bool, heard: bool) -> None:
        """Drain an appliance or end its drain, which its proxy hears of or not."""
        known, before = appliance in self.grid.runs, appliance in self.grid.drained
        call = self.state.undrain_appliance
        answer = self.state.drain_appliance(appliance, "operator") if drains else call(appliance)
        self.settle()
        assert answer == known
        assert (appliance in self.grid.drained) == (drains if known else before)
        if known and heard:
            self.remembered[appliance] = drains

    @rule(appliance=st.sampled_from(sorted(TARGET)), is_new=st.booleans(), stopping=st.booleans())
    def announce(self, appliance: str, is_new: bool, stopping: bool) -> None:
        if is_new:
            self.runs[appliance], self.remembered[appliance] = self.name("r"), False
        run, drained = self.runs[appliance], self.remembered[appliance]
        if self.grid.runs.get(appliance) == run:
            drained = appliance in self.grid.drained
        memory = {"run": run, "drained": self.remembered[appliance], "stopping": stopping}
        said = self.state.announce(announcement(appliance, ttl_ms=TTL_MS, pools={}, **memory)).drained
        self.settle()
        assert said == drained == (appliance in self.grid.drained)
        assert self.grid.runs[appliance] == run
        self.remembered[appliance] = said

    # ── Sessions ──────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: len(self.clients) < 25)
    @rule(
        proxy=ANY,
        browser=st.sampled_from(["chromium"] * 4 + ["firefox"]),
        minor=st.sampled_from(["1.65"] * 3 + ["1.64", ""]),
        queue_max=st.sampled_from([2, 100, 100]),
        clients=st.integers(1, 4),
    )
    def claim(self, proxy: int, browser: str, minor: str, queue_max: int, clients: int) -> None:
        for _ in range(clients):
            self.clients.append(Client(self.name("s"), browser, minor, self.proxies[proxy % 3], "claimed"))
            self.ask(self.clients[-1], queue_max)

    @precondition(lambda self: self.clients)
    @rule(which=ANY)
    def claim_again(self, which: int) -> None:
        """Poll, or repeat a claim whose answer was lost."""
        client = self.clients[which % len(self.clients)]
        if not client.grant:
            self.ask(client, 100)

    def ask(self, client: Client, queue_max: int) -> None:
        if client.id not in self.grid.sessions:
            ticket = Ticket(client.id, client.browser, client.minor, client.proxy, "claimed", asks=True)
            self.grid.sessions[client.id] = ticket
        ticket = self.grid.sessions[client.id]
        is_new, is_displaced = ticket.state == "claimed", ticket.rests or ticket.avoid != client.avoid
        if ticket.state == "waiting" and is_displaced:
            ticket.rests, ticket.asks = False, True
            self.grid.zsets["proxies"].setdefault((), {}).setdefault(client.proxy, 0)
        if ticket.state != "active":
            ticket.avoid = client.avoid
        serving = [w for w in self.grid.workers.values() if w.team[2] not in self.grid.drained]
        served = any(client.suits(w.pool) and self.grid.is_fresh(w) for w in serving)
        members = [w for w in serving if w.status != "draining" and client.suits(w.pool)]
        reachable = any(f"{w.team[2]}/" not in client.avoid.split() for w in members)
        answer = self.state.claim(
            client.id,
            client.request,
            proxy=client.proxy,
            lease_ms=LEASE_MS,
            wait_ms=WAIT_MS,
            queue_max=queue_max,
            avoid=client.avoid.split(),
        )
        self.settle()
        queued = self.grid.queue_length(client.browser)
        if answer["state"] == "waiting":
            assert not is_new or queued <= queue_max
        elif answer["state"] == "full":
            assert queued >= queue_max
        elif answer["state"] == "unreachable":
            assert not reachable
        elif answer["state"] == "lost":
            assert ticket.deadline < self.now
        else:
            assert answer["state"] == "active" or not served
        self.heed(client, answer)

    def heed(self, client: Client, answer: dict[str, Any]) -> None:
        """Do what a proxy does with the answer to a claim, which must be the truth."""
        held = self.grid.sessions.get(client.id)
        if answer["state"] in ("active", "waiting"):
            assert held
            assert held.state == answer["state"]
            assert answer["state"] == "waiting" or held.worker == answer["worker"]
        else:
            self.clients.remove(client)
            if held:  # it has waited for what nobody offers any more
                assert answer["state"] in ("unserved", "unreachable")
                assert held.state == "waiting"
                self.release(client.id)
        client.grant = None
        if answer["state"] == "active":
            client.grant = Grant(client.id, answer["worker"], answer["slot"], answer["appliance"], 0)

    @precondition(lambda self: self.clients)
    @rule(which=ANY)
    def leave(self, which: int) -> None:
        """Hang up: while relayed, while waiting, or when the slot was granted and the proxy not yet told."""
        client = self.clients.pop(which % len(self.clients))
        self.release(client.id)
        self.release(client.id)  # the answer was lost

    def release(self, session: str) -> None:
        known = self.grid.sessions.get(session)
        if known and known.state == "waiting":
            del self.grid.sessions[session]
        assert self.state.release(session, "released") == bool(known)
        self.settle()
        assert session not in self.grid.sessions

    @precondition(lambda self: any(client.grant for client in self.clients))
    @rule(which=ANY, blame=st.sampled_from([*Blame]), backs_off=st.booleans(), repeats=st.booleans())
    def dial_in_vain(self, which: int, blame: Blame, backs_off: bool, repeats: bool) -> None:
        relayed = [client for client in self.clients if client.grant]
        client = relayed[which % len(relayed)]
        assert client.grant
        worker, ticket = self.grid.workers.get(client.grant.worker_id), self.grid.sessions.get(client.id)
        has_it = ticket is not None and ticket.worker == client.grant.worker_id
        if worker and blame is Blame.WORKER and (has_it or not ticket):
            worker.suspect = True
        if has_it and ticket and worker:
            worker.sessions.remove(client.id)
            worker.lifetime = max(0, worker.lifetime - 1)
            ticket.state, ticket.worker, ticket.rests = "waiting", "", True
        self.state.give_back(client.id, client.grant.worker_id, blame)
        self.settle()
        if repeats:  # the answer was lost
            if not ticket and worker and blame is Blame.WORKER:
                self.grid.workers[client.grant.worker_id].suspect = True
            self.state.give_back(client.id, client.grant.worker_id, blame)
            self.settle()
        shunned = f"{client.grant.appliance}/" if blame is Blame.PATH else client.grant.worker_id
        if blame is not Blame.SELF:
            client.avoid = " ".join(sorted({*client.avoid.split(), shunned}))
        client.grant = None
        if not backs_off:
            self.ask(client, 100)

    @precondition(lambda self: any(client.avoid and not client.grant for client in self.clients))
    @rule(which=ANY)
    def reach_again(self, which: int) -> None:
        """Let a proxy reach what a session avoided."""
        avoiding = [client for client in self.clients if client.avoid and not client.grant]
        avoiding[which % len(avoiding)].avoid = ""
        self.ask(avoiding[which % len(avoiding)], 100)

    @precondition(lambda self: self.clients)
    @rule(which=ANY)
    def kill(self, which: int) -> None:
        client = self.clients[which % len(self.clients)]
        is_known = client.id in self.grid.sessions
        assert self.state.kill_session(client.id, "killed") == is_known
        self.settle()
        if is_known:
            self.killed[client.id] = client.proxy

    @rule(proxy=ANY)
    def renew(self, proxy: int) -> None:
        name = self.proxies[proxy % 3]
        relayed = {client.id: client for client in self.clients if client.grant and client.proxy == name}
        self.grid.zsets["proxies"].setdefault((), {})[name] = self.now + LEASE_MS
        workers = {client.id: client.grant.worker_id for client in relayed.values() if client.grant}
        unknown, kills = self.state.renew(name, workers, LEASE_MS)
        for session in [i for i, p in self.killed.items() if p == name and i not in {*relayed, *self.grid.sessions}]:
            del self.killed[session]
        assert kills == {session: "killed" for session, proxy in self.killed.items() if proxy == name}
        assert set(unknown) == {session for session in relayed if session not in self.grid.active()}
        self.settle()
        assert self.grid.zset("proxies")[name] == self.now + LEASE_MS
        assert all(self.grid.zset("leases")[i] == self.now + LEASE_MS for i in relayed if i not in unknown)
        for session in unknown:
            self.take_up(relayed[session])

    def take_up(self, client: Client) -> None:
        """Assert a session that Redis has forgotten."""
        assert client.grant
        worker = self.grid.workers.get(client.grant.worker_id)
        expected = "active" if worker else "pending"
        if worker:
            worker.sessions.add(client.id)
            worker.unclaimed = max(0, worker.unclaimed - 1)
            taken = Ticket(client.id, client.browser, client.minor, client.proxy, "active", worker.id)
            self.grid.sessions[client.id] = taken
        answer = self.state.assert_session(client.grant, client.request, proxy=client.proxy, lease_ms=LEASE_MS)
        assert answer["state"] == expected
        assert not worker or answer["over"] == max(0, len(worker.sessions) - worker.concurrency)
        self.settle()

    @precondition(lambda self: any(client.id not in self.grid.sessions for client in self.clients))
    @rule()
    def end_the_forgotten(self) -> None:
        """Deliver the messages about ended sessions."""
        for client in list(self.clients):
            if client.grant and client.id not in self.grid.sessions:
                self.clients.remove(client)
                self.release(client.id)

    # ── The grid ──────────────────────────────────────────────────────────────────────────────────

    @rule()
    def reap(self) -> None:
        self.state.reap(ANY_SILENCE_S)
        now = self.now
        for ticket in self.grid.waiting():
            if ticket.deadline == now:
                ticket.deadline, ticket.asks = now - 1, True  # its last millisecond: served or over, both are right
        self.settle()
        assert all(self.grid.is_fresh(worker) for worker in self.grid.workers.values())
        assert all(expiry > now for expiry in self.grid.zset("leases").values())
        assert all(self.grid.is_alive(ticket) for ticket in self.grid.waiting())

    @rule(ms=st.sampled_from(STEPS_MS), workers_beat=st.booleans())
    def time_passes(self, ms: int, workers_beat: bool) -> None:
        self.set_clock(self.now + ms)
        self.grid.check()
        for process in list(self.processes) if workers_beat else []:
            self.beat(process, True)

    @rule(what=st.sampled_from(["proxy", "library", "everything"]), proxy=ANY, counted=st.booleans())
    def lose(self, what: str, proxy: int, counted: bool) -> None:
        """Lose a proxy, the library, or all data.

        Then newcomers are faster than the proxies, which assert what the workers may know of or not.
        """
        if what == "proxy":
            dead, self.proxies[proxy % 3] = self.proxies[proxy % 3], self.name("p")
            self.clients = [client for client in self.clients if client.proxy != dead]
        elif what == "library":
            self.store.read(("FUNCTION", "FLUSH"))
        else:
            self.lose_everything()
            self.counts_connections = counted
            for process in list(self.processes):
                self.beat(process, True)
            self.claim(proxy, "chromium", "1.65", 100, 2)
            self.renew(0)

    @precondition(lambda _: EXAMPLES)  # slow: only with MODEL_EXAMPLES
    @rule(keys=st.lists(ANY, min_size=1, max_size=3), clients=st.integers(0, 2), ms=st.sampled_from([0, 1, 4_000]))
    def evict(self, keys: list[int], clients: int, ms: int) -> None:
        """Lose some keys, as by an eviction. While everybody does what they do anyway, all becomes whole again."""
        names = sorted(name for name in self.store.read(("KEYS", self.store.key("*")))[0] if ":events" not in name)
        self.store.read(*[("DEL", names[which % len(names)]) for which in keys])
        self.set_clock(self.now + ms)
        for _ in range(clients):  # none of the calls fails
            self.clients.append(Client(self.name("s"), "chromium", "1.65", self.proxies[0], "claimed"))
            self.poll(self.clients[-1])
        for client in [client for client in self.clients if client.grant][:clients]:
            self.clients.remove(client)
            assert client.grant
            self.state.release(client.id, "released", 0, client.grant.worker_id)
        for step_ms in (0, 7_500, 7_500, 7_500):  # until the leases of dead proxies have expired
            self.set_clock(self.now + step_ms)
            self.do_as_always()
        self.store.read(("DEL", *[self.store.key("kills", proxy) for proxy in self.proxies]))
        self.killed.clear()
        self.synchronise_clock()
        self.forget_stale_tickets()
        self.grid = self.look()
        self.grid.check()
        of_the_living = [ticket for ticket in self.grid.sessions.values() if ticket.proxy in self.proxies]
        relayed = {client.id: client.grant.worker_id for client in self.clients if client.grant}
        assert {ticket.id: ticket.worker for ticket in of_the_living if ticket.state == "active"} == relayed
        assert {ticket.id for ticket in of_the_living} == {client.id for client in self.clients}

    def forget_stale_tickets(self) -> None:
        """Forget what is forgotten later: what is first in a queue, and a deadline that passes."""
        grid = self.look()
        for kind in ("pool", "serving", "standby"):  # of a version that nobody serves, until somebody does
            sets: dict[tuple[str, ...], Any] = grid.serving if kind == "serving" else grid.zsets[kind]
            for name, members in sets.items():
                if name[1] not in grid.zset("offers", name[0]):
                    lost = [worker for worker in members if worker not in grid.workers]
                    command = "SREM" if kind == "serving" else "ZREM"
                    self.store.read(("PING",), *[(command, self.store.key(kind, *name), worker) for worker in lost])
        waiting = {ticket.id for ticket in self.look().waiting()}
        for name, queue in [(("queue", *name), queue) for name, queue in grid.zsets["queue"].items()]:
            for session in queue.keys() - waiting:
                self.store.read(("ZREM", self.store.key(*name), session))
        for session in grid.zset("deadlines").keys() - waiting:
            self.store.read(("ZREM", self.store.key("deadlines"), session))

    def do_as_always(self) -> None:
        """Beat, announce, renew, poll and reap, as the processes do within some seconds."""
        for _ in range(2):
            self.beat_all()
            for appliance in TARGET:
                memory = {"run": self.runs[appliance], "drained": self.remembered[appliance]}
                said = self.state.announce(announcement(appliance, ttl_ms=TTL_MS, pools={}, **memory))
                self.remembered[appliance] = said.drained
            for proxy in self.proxies:
                self.renew_all(proxy)
            for client in [client for client in self.clients if not client.grant]:
                self.poll(client)
            for appliance in TARGET:
                self.state.reap(ANY_SILENCE_S, appliance)

    def beat_all(self) -> None:
        for place, process in enumerate(self.processes):
            answer = self.state.heartbeat_worker(process.id, 0, healthy=True)
            if answer:
                status, lifetime = WorkerStatus(answer["status"]), max(process.lifetime, answer["lifetime"])
            else:
                held = sum(bool(c.grant and c.grant.worker_id == process.id) for c in self.clients)
                known = {"connections": held, "settle_ms": LEASE_MS, "run": self.runs[process.appliance]}
                again = replace(process, **known, drained=self.remembered[process.appliance])
                status, lifetime = self.state.register_worker(again), process.lifetime
            self.processes[place] = replace(process, status=status, lifetime=lifetime)

    def renew_all(self, proxy: str) -> None:
        relayed = {client.id: client for client in self.clients if client.grant and client.proxy == proxy}
        workers = {client.id: client.grant.worker_id for client in relayed.values() if client.grant}
        unknown, _ = self.state.renew(proxy, workers, LEASE_MS)
        for client in [relayed[session] for session in unknown]:
            assert client.grant
            answer = self.state.assert_session(client.grant, client.request, proxy=proxy, lease_ms=LEASE_MS)
            if answer["state"] == "pending" and client.grant.worker_id not in [one.id for one in self.processes]:
                self.clients.remove(client)  # its worker is gone
                self.state.release(client.id, "released")

    def poll(self, client: Client) -> None:
        """Claim, or ask where a claim stands, as a proxy does: one that waited long enough gives up."""
        options = {"proxy": client.proxy, "lease_ms": LEASE_MS, "wait_ms": WAIT_MS, "queue_max": 100}
        answer = self.state.claim(client.id, client.request, **options, avoid=client.avoid.split())
        if answer["state"] == "active":
            client.grant = Grant(client.id, answer["worker"], answer["slot"], answer["appliance"], 0)
        elif answer["state"] != "waiting":
            self.clients.remove(client)
            self.state.release(client.id, "released")

    def synchronise_clock(self) -> None:
        """Let the grid's clock tell the test's time again, if it was lost."""
        in_full = f"{self.now} {self.now} {int(ANY_SILENCE_S * 1000)}"
        self.store.read(("SET", self.store.key("clock"), in_full))

    def lose_everything(self) -> None:
        self.store.read(("FLUSHALL",))
        self.killed.clear()
        self.grid = Grid({}, self.now)
        self.set_clock(self.now)
        self.synchronise_clock()


@pytest.fixture
def own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the library with the test's clock, under a name of its own."""
    digest, text = store_module.library()
    assert text.count(LOOK_AT_THE_CLOCK) == 1
    text = text.replace(LOOK_AT_THE_CLOCK, "{0, redis.call('GET', 'clock') * 1000}")
    own = hashlib.sha256(text.encode()).hexdigest()[:12]
    monkeypatch.setattr(store_module, "library", lambda: (own, text.replace(digest, own)))


@pytest.mark.usefixtures("own_clock")
def test_whatever_happens_the_grid_does_what_the_model_says(store: Store) -> None:
    machine = type("Machine", (Everyone,), {"store": store})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES or 200,
            stateful_step_count=60,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
