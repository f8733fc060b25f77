"""One pool from its start to the last session of its load.

Everything that happens is a call of `Grid` at its time, in the order of time. What a call made of the
pool is read from its events; what follows from them (a session's end, a worker's next step) happens later.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from appliance.grid.grid import Grid
from appliance.grid.values import SessionRequest, WorkerStatus
from appliance.names import Browser, minor_version
from tests.simulation.agenda import Agenda
from tests.simulation.case import Case
from tests.simulation.pool import Pool
from tests.simulation.programs import VERSION, Appliance, Program
from tests.simulation.store import Event, SimulatedStore
from tests.support.announced import announcement

REQUEST = SessionRequest(Browser.CHROMIUM, "1.65")
FOREVER_MS = 10**11
PROXY = "proxy"
ANY_SILENCE_S = 1e6  # all time counts, also that in which nothing happens


class Stuck(Exception):
    """Sessions wait, but none was given a slot for an hour and a hundred sessions' time."""


class Simulation:
    """One case: `run` it, then look at `pool`, `waits_s` and `absences`."""

    def __init__(self, url: str, case: Case) -> None:
        """Use the URL of a Redis of its own, and the case."""
        self.case = case
        self.pool = Pool(case)
        self.waits_s: list[float] = []  # of the sessions that had to wait, from arrival to start
        self._agenda = Agenda()
        self._store = SimulatedStore(url, self._agenda, self._watch)
        self._grid = Grid(self._store)
        self._arrivals = random.Random(f"arrivals {case}")
        self._lengths = random.Random(f"lengths {case}")
        self._programs: dict[str, Program] = {}
        self._pending: dict[str, tuple[float, float]] = {}  # arrival and length of the sessions without a slot
        self._active: dict[str, str] = {}  # session -> worker
        self._claimed = 0
        self._last_start_s = 0.0

    @property
    def absences(self) -> list[tuple[float, float]]:
        """From when until when each recycled worker was away, from the start of the load."""
        began_s = self.pool.began_s
        return [
            (start_s - began_s, end_s - began_s) for one in self._programs.values() for start_s, end_s in one.absences
        ]

    def run(self) -> Simulation:
        """Simulate until the last session has arrived, and what was begun has ended. Raises Stuck."""
        case, names = self.case, [f"appliance-{number:02}" for number in range(self.case.appliances)]
        try:
            self._tend()
            for name in names:
                appliance = Appliance(name, case.workers // len(names), case, self._agenda, self._store, self._check)
                self._programs |= {program.full_name: program for program in appliance.start()}
            self._agenda.run(lambda: len(self.pool.workers) == len(self._programs))
            self.pool.begin(self._agenda.now_s)
            self._last_start_s = self._agenda.now_s
            self._load()
            self._agenda.run(lambda: self._claimed == case.total)
            self.pool.end(self._agenda.now_s)
            self._agenda.run(self._is_quiet)
        finally:
            self._store.close()
        return self

    def _is_quiet(self) -> bool:
        return not self._pending and all(program.drained_s is None for program in self._programs.values())

    # ── Clients ───────────────────────────────────────────────────────────────────────────────────

    def _load(self) -> None:
        if self.case.load < 1:
            self._arrive()
            return
        for _ in range(self.case.workers * self.case.concurrency):
            self._claim()

    def _arrive(self) -> None:
        """Let a client come, and then the next one."""
        self._agenda.after(self._arrivals.expovariate(self.case.rate), self._arrive)
        self._claim()

    def _claim(self) -> None:
        if self._claimed == self.case.total:
            return
        self._claimed += 1
        name, length_s = f"{self._claimed:08x}", self.case.length_s
        if not self.case.fixed:
            length_s = self._lengths.expovariate(1 / length_s)
        self._pending[name] = (self._agenda.now_s, length_s)
        lease_ms = int(self.case.beat_s * 3000)
        answer = self._grid.claim(name, REQUEST, proxy=PROXY, lease_ms=lease_ms, wait_ms=FOREVER_MS, queue_max=10**9)
        assert answer["status"] in ("active", "waiting"), answer
        assert (answer["status"] == "waiting") == (name in self._pending), "its start was not told"

    def _end(self, session: str) -> None:
        del self._active[session]
        assert self._grid.release(session, "closed")
        if self.case.load >= 1:
            self._claim()

    # ── The grid ──────────────────────────────────────────────────────────────────────────────────

    def _tend(self) -> None:
        """Do what a proxy does now and then, which must find that nobody is forgotten."""
        beat_s = self.case.beat_s
        self._agenda.after(beat_s, self._tend)
        pools, ttl_ms = {(Browser.CHROMIUM, minor_version(VERSION)): self.case.workers}, int(beat_s * 3000)
        named = announcement("appliance-00", run="", proxy=PROXY, version=VERSION, pools=pools, ttl_ms=ttl_ms)
        self._grid.announce(named)
        assert self._grid.renew(PROXY, self._active, int(beat_s * 3000)) == ([], {})
        assert not any(self._grid.reap(ANY_SILENCE_S).values())
        if self._pending and self._agenda.now_s - self._last_start_s > 3600 + 100 * self.case.length_s:
            raise Stuck(f"{len(self._pending)} sessions wait, and none has started since {self._last_start_s:.0f} s")

    def _check(self, worker: str, answer: dict[str, Any]) -> None:
        """See by the answer to a heartbeat that the events tell what happened."""
        seen = self.pool.workers[worker]
        assert (answer["status"], answer["active"]) == (seen.status, len(seen.active))
        assert answer["lifetime"] <= seen.lifetime

    def _watch(self, events: list[Event]) -> None:
        """Take what a call made of the pool, and put down what follows."""
        for event in events:
            self.pool.apply(event, self._agenda.now_s)
            if event["event"] == "session.started":
                self._begin(event["session"], event["worker"])
            elif event["event"] == "session.ended":
                self._end_if_drained(event["worker"])
            elif event["event"] == "worker.draining":
                drain = self._program_of(event["worker"]).drain
                self._agenda.after(0, partial(drain, event["worker"], event["reason"]))
        self.pool.observe(self._agenda.now_s)

    def _begin(self, session: str, worker: str) -> None:
        arrived_s, length_s = self._pending.pop(session)
        if self._agenda.now_s > arrived_s:
            self.waits_s.append(self._agenda.now_s - arrived_s)
        self._active[session] = worker
        self._last_start_s = self._agenda.now_s
        self._agenda.after(length_s, partial(self._end, session))

    def _end_if_drained(self, worker: str) -> None:
        seen = self.pool.workers[worker]
        if seen.status is WorkerStatus.DRAINING and not seen.active:
            self._agenda.after(0, partial(self._program_of(worker).end, worker))

    def _program_of(self, worker: str) -> Program:
        return self._programs[worker.rpartition(".")[0]]
