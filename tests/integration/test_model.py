"""The whole Lua library on a real Redis, in random order, against a model in Python.

The model replays each call's events over what Redis held before it, one by one, and asks of each
whether it was allowed: was this worker the one that the rule of selection names, and this session the
longest-waiting one. What it arrives at must be what Redis holds afterwards, and that must be consistent.

Time is the test's own: the library is loaded with its one look at the clock replaced.

Run it longer, with new random examples each time: MODEL_EXAMPLES=2000 pytest tests/integration/test_model.py
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from appliance.grid import store as store_module
from appliance.grid.store import Store
from appliance.grid.values import Grant, WorkerStatus
from tests.model.invariants import check
from tests.model.model import LEASE_MS, TARGET, TTL_MS, WAIT_MS
from tests.model.wishes import HOLD_MS, Wishes
from tests.model.workers import ANY, ANY_SILENCE_S, QUOTAS, STEPS_MS, Client
from tests.support import simulated_clock
from tests.support.announced import announcement

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))


class Everyone(Wishes):
    """All of them, and time, losses and evictions."""

    @initialize(sizes=st.lists(st.tuples(st.integers(1, 3), QUOTAS), min_size=3, max_size=3), clients=st.integers(0, 4))
    def begin_with_a_busy_pool(self, sizes: list[tuple[int, int]], clients: int) -> None:
        """Spare the search the way to where most happens: a team with its spare, clients, another pool, and wishes."""
        for version, size in zip(("1.65.0", "1.65.0", "1.64.2"), sizes, strict=True):
            self.start_worker(("chromium", version), "here", *size)
        self.claim(0, "chromium", "1.65", 100, clients)
        for appliance in sorted(TARGET):
            self.look_for_a_wish(appliance, {"1.62", "1.63"}, set(), set())
        self.claim(0, "chromium", "1.62", 100, 1, may_wish=True)
        self.claim(1, "chromium", "1.63", 100, 1, may_wish=True)

    @rule()
    def reap(self) -> None:
        self.grid.reap(ANY_SILENCE_S)
        now = self.now
        for ticket in self.model.waiting():
            if ticket.deadline == now:
                ticket.deadline, ticket.asks = now - 1, True  # its last millisecond: served or over, both are right
        self.settle()
        assert all(self.model.is_fresh(worker) for worker in self.model.workers.values())
        assert all(expiry > now for expiry in self.model.zset("leases").values())
        assert all(self.model.is_alive(ticket) for ticket in self.model.waiting())

    @rule(ms=st.sampled_from(STEPS_MS), workers_beat=st.booleans())
    def time_passes(self, ms: int, workers_beat: bool) -> None:
        self.set_clock(self.now + ms)
        check(self.model)
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
            self.grid.release(client.id, "released", client.grant.worker_id)
        for step_ms in (0, 7_500, 7_500, 7_500):  # until the leases of dead proxies have expired
            self.set_clock(self.now + step_ms)
            self.do_as_always()
        self.store.read(
            (
                "DEL",
                self.store.key("history"),
                *[self.store.key("kills", proxy) for proxy in self.proxies],
            )
        )
        self.killed.clear()
        self.synchronise_clock()
        self.forget_stale_tickets()
        self.model = self.look()
        self.known = {*self.model.sessions}  # what ended while keys were lost may have no entry
        check(self.model)
        of_the_living = [ticket for ticket in self.model.sessions.values() if ticket.proxy in self.proxies]
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
        listed = {(wish.split()[0], wish.split()[1]) for wish in grid.zset("wanted")}
        for browser, minor in listed - grid.wishes.keys():  # until nobody works on an older wish
            self.store.read(("ZREM", self.store.key("wanted"), f"{browser} {minor}"))
        for wish in grid.wishes.keys() - listed:  # until somebody makes it, or it expires
            self.store.read(("DEL", self.store.key("wanted", *wish)))

    def do_as_always(self) -> None:
        """Beat, announce, renew, poll and reap, as the processes do within some seconds."""
        for _ in range(2):
            self.beat_all()
            for appliance in TARGET:
                memory = {"run": self.runs[appliance], "drained": self.remembered[appliance]}
                said = self.grid.announce(announcement(appliance, ttl_ms=TTL_MS, pools={}, **memory))
                self.remembered[appliance] = said.drained
                self.grid.take_wish(appliance, {"1.62", "1.63"}, TTL_MS / 1000, HOLD_MS / 1000, {})
            for proxy in self.proxies:
                self.renew_all(proxy)
            for client in [client for client in self.clients if not client.grant]:
                self.poll(client)
            for appliance in TARGET:
                self.grid.reap(ANY_SILENCE_S, appliance)

    def beat_all(self) -> None:
        for place, process in enumerate(self.processes):
            answer = self.grid.heartbeat_worker(process.id, 0, healthy=True)
            if answer:
                status, lifetime = WorkerStatus(answer["status"]), max(process.lifetime, answer["lifetime"])
            else:
                held = sum(bool(c.grant and c.grant.worker_id == process.id) for c in self.clients)
                known = {"connections": held, "settle_ms": LEASE_MS, "run": self.runs[process.appliance]}
                again = replace(process, **known, drained=self.remembered[process.appliance])
                status, lifetime = self.grid.register_worker(again), process.lifetime
            self.processes[place] = replace(process, status=status, lifetime=lifetime)

    def renew_all(self, proxy: str) -> None:
        relayed = {client.id: client for client in self.clients if client.grant and client.proxy == proxy}
        workers = {client.id: client.grant.worker_id for client in relayed.values() if client.grant}
        unknown, _ = self.grid.renew(proxy, workers, LEASE_MS)
        for client in [relayed[session] for session in unknown]:
            assert client.grant
            answer = self.grid.assert_session(client.grant, client.request, proxy=proxy, lease_ms=LEASE_MS)
            if answer["status"] == "pending" and client.grant.worker_id not in [one.id for one in self.processes]:
                self.clients.remove(client)  # its worker is gone
                self.grid.release(client.id, "released")

    def poll(self, client: Client) -> None:
        """Claim, or ask where a claim stands, as a proxy does: one that waited long enough gives up."""
        options = {"proxy": client.proxy, "lease_ms": LEASE_MS, "wait_ms": WAIT_MS, "queue_max": 100}
        answer = self.grid.claim(client.id, client.request, **options, avoid=client.avoid.split())
        if answer["status"] == "active":
            client.grant = Grant(client.id, answer["worker"], answer["worker_name"], answer["appliance"], 0)
        elif answer["status"] != "waiting":
            self.clients.remove(client)
            self.grid.release(client.id, "released")

    def teardown(self) -> None:
        """Look at the sessions as an operator does, when all is done."""
        shown = {one.id: (one.isolation, one.protocol) for one in self.grid.sessions()}
        assert shown == {one.id: (one.isolation, one.protocol) for one in self.model.sessions.values()}


def test_whatever_happens_the_grid_does_what_the_model_says(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    own = simulated_clock.library()
    monkeypatch.setattr(store_module, "library", lambda: own)
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
