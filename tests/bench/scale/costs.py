"""What each of the calls of `Grid` costs Redis, by the number of workers: what grows with it must be rare."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.grid.values import WorkerSpec, WorkerStatus
from tests.bench.claims import POOL
from tests.bench.scale.clients import WANTED
from tests.bench.scale.plan import TOKEN, VERSION, Plan
from tests.bench.scale.server import Meter, Server
from tests.support.announced import announcement

CALLS = 400
HELD = 20
QUOTA = 10**6  # not reached here: what recycling costs shows under load
LONG_MS = 10**9


class Costs:
    """A grid that stands still, and calls to it."""

    def __init__(self, server: Server, plan: Plan, workers: int) -> None:
        """Empty the server, and register workers of all ages."""
        store = Store(server.url, "scale")
        store.read(("FLUSHALL",))
        self._meter, self._grid, self._plan = Meter(server), Grid(store), plan
        self._specs = [self._spec(number) for number in range(workers)]
        for spec in self._specs:
            self._grid.register_worker(spec)
        self._numbers = itertools.count()
        self._grid.create_token("digest", TOKEN)
        for number in range(HELD):
            self._claim(f"held-{number}")

    def table(self) -> dict[str, float]:
        """Return the microseconds of CPU, user and system, that each kind of call costs."""
        return {name: self._cost(call, calls) for name, (call, calls) in self._calls().items()}

    def _calls(self) -> dict[str, tuple[Callable[[], object], int]]:
        grid, specs = self._grid, itertools.cycle(self._specs)
        announced = announcement("probe", proxy="probe.0", version=VERSION)
        held = {session.id: session.worker for session in grid.sessions() if session.id.startswith("held-")}
        return {
            "heartbeat": (lambda: grid.heartbeat_worker(next(specs).id, 1), CALLS),
            "a session: token, claim, release": (self._session, CALLS),
            f"renewal of {HELD} leases": (lambda: grid.renew("probe.0", held, LONG_MS), CALLS),
            "reap, nothing to do": (grid.reap, CALLS),
            "announcement": (lambda: grid.announce(announced), CALLS),
            "look at the tokens": (grid.tokens, CALLS),
            "a worker removed and registered": (lambda: self._replace(next(specs)), CALLS),
            "/readyz": (lambda: grid.is_ready(POOL[0]), 10),
            "capacity of the pools": (lambda: self._counted_anew(grid.capacity), 10),
            "what runs on each appliance": (lambda: self._counted_anew(grid.appliances), 10),
        }

    def _cost(self, call: Callable[[], object], calls: int) -> float:
        began = self._meter.cpu_s()
        for _ in range(calls):
            call()
        return (self._meter.cpu_s() - began) / calls * 1e6

    def _spec(self, number: int) -> WorkerSpec:
        machine, worker = divmod(number, self._plan.workers)
        name, target = f"chromium-{worker:02}", self._plan.workers
        appliance, browser = f"a{machine}", POOL[0]
        spec = WorkerSpec(f"{appliance}.{name}", browser, VERSION, appliance, name, 5, QUOTA, LONG_MS, 1)
        return replace(spec, target=target, lifetime=number % 997, status=WorkerStatus.AVAILABLE)

    def _claim(self, session: str) -> None:
        answer = self._grid.claim(session, WANTED, proxy="probe.0", lease_ms=LONG_MS, wait_ms=1, queue_max=100)
        assert answer["status"] == "active"

    def _session(self) -> None:
        session = f"s{next(self._numbers)}"
        self._grid.check_token("digest")
        self._claim(session)
        self._grid.release(session, "closed")

    def _counted_anew(self, call: Callable[[], object]) -> None:
        store = self._grid.store
        store.read(("DEL", store.key("capacity"), store.key("census")))
        call()

    def _replace(self, spec: WorkerSpec) -> None:
        self._grid.remove_worker(spec.id, "replaced")
        self._grid.register_worker(spec)
