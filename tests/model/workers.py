"""Workers and appliances that do what they may do, at any time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TypedDict

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.grid.values import Grant, SessionRequest, WorkerSpec, WorkerStatus
from appliance.names import BESIDE, Browser, Isolation, Protocol
from tests.model.invariants import check
from tests.model.model import DUMP, LEASE_MS, SPARES, TARGET, TTL_MS, Model, Ticket, Worker, suffix
from tests.model.replay import Replay
from tests.support.announced import announcement
from tests.support.simulated_clock import BEGINNING_MS, CLOCK

QUOTAS = st.sampled_from([0, 1, 2, 3, 5, 9])
CHROMIUM_POOLS = [("chromium", one) for one in ("1.65.0", "1.65.0", "1.65.0", "1.64.2", "1.62.0", f"1.65.0{BESIDE}")]
FIREFOX_POOLS = [("firefox", "1.65.1"), ("firefox", "1.64.2")]
ANY = st.integers(0, 999)  # which of those that there are
ANY_SILENCE_S = 1e9  # each jump of time counts in full
STEPS_MS = (1, 1, 4_000, 4_000, 7_500, 15_000, 15_001)  # so that times are met exactly, and just missed


class Kind(TypedDict):
    """What a session has for itself, and what its client speaks."""

    isolation: Isolation
    protocol: Protocol


class Client(Ticket):
    """A client in its proxy: what the proxy believes of its session."""

    grant: Grant | None = None

    @property
    def kind(self) -> Kind:
        return {"isolation": Isolation(self.isolation), "protocol": Protocol(self.protocol)}

    @property
    def request(self) -> SessionRequest:
        return SessionRequest(Browser(self.browser), self.minor, may_wish=self.may_wish, **self.kind)


class Workers(RuleBasedStateMachine):
    """The workers of two appliances, and the model of their grid."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.grid = Grid(self.store)
        self.processes: list[WorkerSpec] = []
        self.clients: list[Client] = []
        self.proxies = ["p0", "p1", "p2"]
        self.killed: dict[str, str] = {}  # by session, the proxy that has been told
        self.named = 0
        self.known: set[str] = set()  # the sessions that Redis has known since it last lost something
        self.counts_connections = True
        self.runs = dict.fromkeys(TARGET, "1")
        self.remembered = dict.fromkeys(TARGET, False)  # by each appliance: whether it is drained
        self.now = BEGINNING_MS
        self.lose_everything()

    def name(self, letter: str) -> str:
        self.named += 1
        return f"{letter}{self.named}"

    def set_clock(self, now: int) -> None:
        self.now = self.model.now = now
        self.store.read(("SET", CLOCK, now))

    def look(self) -> Model:
        return Model(json.loads(self.store.read(("EVAL", DUMP, 1, self.store.key("events")))[0]), self.now)

    def settle(self) -> None:
        """Compare what the last call made of Redis with what it should have."""
        after = self.look()
        Replay(self.model, after).run()
        check(after)
        self.known |= after.sessions.keys()
        assert sorted(after.past) == sorted(self.known - after.sessions.keys())
        self.model = after

    # ── Workers ───────────────────────────────────────────────────────────────────────────────────

    def register(self, process: WorkerSpec) -> None:
        place = self.processes.index(process)
        known = self.model.workers.get(process.id)
        connected = [c for c in self.clients if c.grant and c.grant.worker_id == process.id]
        connections = len(connected) if self.counts_connections else 0
        run, drained = self.runs[process.appliance], self.remembered[process.appliance]
        if self.model.runs.get(process.appliance) == run:
            drained = process.appliance in self.model.drained
        memory = {"run": run, "drained": self.remembered[process.appliance]}
        process = self.processes[place] = replace(process, connections=connections, settle_ms=LEASE_MS, **memory)
        if not known:
            pool = (process.browser.value, process.minor)
            numbers = (process.lifetime, process.concurrency, process.quota, process.target)
            unclaimed = (process.connections, self.now + process.settle_ms) if process.connections else (0, 0)
            times = (self.now, self.now, *unclaimed)
            full_name = f"{process.appliance}/{process.name}"
            known = Worker(
                process.id, pool, (*pool, process.appliance), full_name, process.status.value, *numbers, *times
            )
            self.model.workers[process.id] = known
        known.heartbeat, known.suspect, known.lifetime = self.now, False, max(process.lifetime, known.lifetime)
        status = self.grid.register_worker(process)
        self.mark_draining(known)
        self.settle()
        assert (process.appliance in self.model.drained) == drained
        self.remember(process, status, process.lifetime)

    def mark_draining(self, worker: Worker) -> None:
        if worker.status == "draining":
            self.model.mark(worker, self.now + TTL_MS)

    def remember(self, process: WorkerSpec, status: WorkerStatus, lifetime: int) -> None:
        known = self.model.workers[process.id]
        assert status == known.status
        assert lifetime <= known.lifetime
        place = self.processes.index(process)
        self.processes[place] = replace(process, status=status, lifetime=max(lifetime, process.lifetime))

    @precondition(lambda self: len(self.processes) < 9)
    @rule(
        pool=st.sampled_from([*CHROMIUM_POOLS, *FIREFOX_POOLS]),
        appliance=st.sampled_from(sorted(TARGET)),
        concurrency=st.integers(1, 3),
        quota=QUOTAS,
    )
    def start_worker(self, pool: tuple[str, str], appliance: str, concurrency: int, quota: int) -> None:
        name = self.name("w")
        place = (name, Browser(pool[0]), pool[1].removesuffix(BESIDE), appliance, name)
        numbers = (concurrency, quota, TTL_MS, 1, TARGET[appliance], SPARES)
        self.processes.append(WorkerSpec(*place, *numbers, beside=suffix(pool[1])))
        self.register(self.processes[-1])

    @precondition(lambda self: self.processes)
    @rule(which=ANY)
    def register_again(self, which: int) -> None:
        self.register(self.processes[which % len(self.processes)])

    def beat(self, process: WorkerSpec, healthy: bool) -> None:
        known = self.model.workers.get(process.id)
        if known:
            known.heartbeat, known.suspect = self.now, known.suspect and not healthy
            self.mark_draining(known)
        answer = self.grid.heartbeat_worker(process.id, 0, healthy=healthy)
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
        known = self.model.workers.get(process.id)
        active = self.grid.drain_worker(process.id, "operator")
        self.settle()
        assert active == (len(known.sessions) if known else None)
        if known:
            self.remember(process, WorkerStatus.DRAINING, known.lifetime)

    @precondition(lambda self: self.processes)
    @rule(which=ANY, silently=st.booleans())
    def crash(self, which: int, silently: bool) -> None:
        process = self.processes.pop(which % len(self.processes))
        if not silently:
            self.grid.remove_worker(process.id, "crashed")
            self.settle()
            assert process.id not in self.model.workers

    # ── Appliances ────────────────────────────────────────────────────────────────────────────────

    @rule(appliance=st.sampled_from(sorted(TARGET)), drains=st.booleans(), heard=st.booleans())
    def drain_or_undrain_appliance(self, appliance: str, drains: bool, heard: bool) -> None:
        """Drain an appliance or end its drain, which its proxy hears of or not."""
        known, before = appliance in self.model.runs, appliance in self.model.drained
        call = self.grid.undrain_appliance
        answer = self.grid.drain_appliance(appliance, "operator") if drains else call(appliance)
        self.settle()
        assert answer == known
        assert (appliance in self.model.drained) == (drains if known else before)
        if known and heard:
            self.remembered[appliance] = drains

    @rule(appliance=st.sampled_from(sorted(TARGET)), is_new=st.booleans(), stopping=st.booleans())
    def announce(self, appliance: str, is_new: bool, stopping: bool) -> None:
        if is_new:
            self.runs[appliance], self.remembered[appliance] = self.name("r"), False
        run, drained = self.runs[appliance], self.remembered[appliance]
        if self.model.runs.get(appliance) == run:
            drained = appliance in self.model.drained
        memory = {"run": run, "drained": self.remembered[appliance], "stopping": stopping}
        said = self.grid.announce(announcement(appliance, ttl_ms=TTL_MS, pools={}, **memory)).drained
        self.settle()
        assert said == drained == (appliance in self.model.drained)
        assert self.model.runs[appliance] == run
        self.remembered[appliance] = said

    def synchronise_clock(self) -> None:
        """Let the grid's clock tell the test's time again, if it was lost."""
        in_full = f"{self.now} {self.now} {int(ANY_SILENCE_S * 1000)}"
        self.store.read(("SET", self.store.key("clock"), in_full))

    def lose_everything(self) -> None:
        self.store.read(("FLUSHALL",))
        self.killed.clear()
        self.known.clear()
        self.model = Model({}, self.now)
        self.set_clock(self.now)
        self.synchronise_clock()
