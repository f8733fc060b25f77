"""The queue on a real Redis, as two proxies with many clients see it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.errors import ClientGone
from appliance.grid.claims import POLL_INTERVAL_S
from appliance.grid.grid import Grid
from appliance.grid.mailbox import Mailbox
from appliance.grid.session import Session, hung_up
from appliance.grid.sessions import Sessions
from appliance.grid.store import Store
from appliance.grid.values import SessionRequest
from appliance.names import Browser
from appliance.request_errors import QueueFull
from appliance.settings import config
from appliance.settings.config import Settings
from tests.support.claims import CONCURRENCY, spec
from tests.support.waiting import until

WANTED = SessionRequest(Browser.CHROMIUM, "1.65")
WORKERS = ("A", "B")
SLOTS = len(WORKERS) * CONCURRENCY
CLIENTS = 200


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("APPLIANCE_ENV", str(tmp_path / "none"))
    return config.load(queue_timeout=60, queue_max_length=CLIENTS)


@contextmanager
def proxy(url: str, name: str, settings: Settings, *, listens: bool = True) -> Iterator[Sessions]:
    """Run a proxy's sessions on connections of their own."""
    store = Store(url, "test")
    sessions = Sessions(Grid(store), settings, name)
    mailbox = Mailbox(store, "proxy", name, sessions.handle)
    listener = threading.Thread(target=mailbox.run)
    if listens:
        listener.start()
        until(lambda: store.read(("PUBSUB", "NUMSUB", store.key("proxy", name)))[0][1], "the mailbox listens")
    try:
        yield sessions
    finally:
        mailbox.close()
        if listens:
            listener.join()
        store.close()


@pytest.fixture
def proxies(
    grid: Grid, redis_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Sessions, Sessions]]:
    """Register two workers, and give the sessions of two proxies; they do not poll, but are told."""
    monkeypatch.setattr("appliance.grid.claims.POLL_INTERVAL_S", 3600)
    settings.lease_ttl = 3 * 3600
    for name in WORKERS:
        grid.register_worker(spec(name, quota=0))
    with proxy(redis_url, "p1", settings) as first, proxy(redis_url, "p2", settings) as second:
        yield first, second


class Client(threading.Thread):
    """A client that claims a slot, waits for it if need be, and holds it until it is told to leave."""

    def __init__(self, sessions: Sessions, served: list[Client] | None = None) -> None:
        super().__init__()
        self.sessions = sessions
        self.served = [] if served is None else served
        self.session: Session | None = None
        self.error: Exception | None = None
        self.is_waiting = threading.Event()
        self.is_served = threading.Event()
        self.may_leave = threading.Event()

    def watch(self, session: Session) -> None:
        self.session = session
        self.is_waiting.set()

    def run(self) -> None:
        try:
            with self.sessions.open(WANTED, self.watch) as self.session:
                self.served.append(self)
                self.is_served.set()
                self.may_leave.wait(60)
        except (ClientGone, QueueFull) as error:
            self.error = error

    def comes(self) -> Client:
        """Start, and wait until its claim has been answered."""
        self.start()
        until(lambda: self.is_served.is_set() or self.is_waiting.is_set(), "the claim is answered", every_s=0.001)
        return self

    def leaves(self) -> None:
        self.may_leave.set()
        self.join()


@contextmanager
def leaving(clients: list[Client]) -> Iterator[None]:
    """Let all clients leave at the end, whatever happens."""
    try:
        yield
    finally:
        for client in clients:
            client.may_leave.set()
        for client in clients:
            if client.ident:
                client.join()


def assert_nothing_is_left(grid: Grid) -> None:
    store = grid.store
    left = store.read(("KEYS", store.key("session", "*")), ("KEYS", store.key("queue", "*")))
    left += store.read(("KEYS", store.key("worker", "*", "sessions")), ("EXISTS", store.key("leases")))
    assert [*left, *store.read(("EXISTS", store.key("deadlines")))] == [[], [], [], 0, 0]
    assert [worker.active for worker in grid.workers()] == [0] * len(WORKERS)
    assert [pool.free for pool in grid.capacity()] == [SLOTS]


def test_200_clients_of_two_proxies_are_served_in_the_order_in_which_they_came(
    grid: Grid, proxies: tuple[Sessions, Sessions]
) -> None:
    served: list[Client] = []
    clients = [Client(proxies[number % 2], served) for number in range(CLIENTS)]
    with leaving(clients):
        for client in clients:
            client.comes()
        assert served == clients[:SLOTS]
        assert [len(sessions) for sessions in proxies] == [CLIENTS / 2] * 2
        assert sum(pool.waiting for pool in grid.capacity()) == CLIENTS - SLOTS
        for number, leaver in enumerate(clients):
            leaver.leaves()
            assert [worker.active for worker in grid.workers()] == [CONCURRENCY] * 2 or number >= CLIENTS - SLOTS
            if number < CLIENTS - SLOTS:
                assert clients[number + SLOTS].is_served.wait(30), "the next one in the queue was not told"
    assert served == clients
    assert_nothing_is_left(grid)


def test_200_clients_at_once_are_all_served_and_never_hold_more_than_all_slots(
    grid: Grid, proxies: tuple[Sessions, Sessions]
) -> None:
    clients = [Client(proxies[number % 2]) for number in range(CLIENTS)]
    with leaving(clients):
        for client in clients:
            client.may_leave.set()  # it leaves as soon as it is served
            client.start()
        for client in clients:
            client.join(30)
        assert all(client.is_served.is_set() for client in clients)
    events = [event for event in grid.events(5 * CLIENTS) if event["event"].startswith("session.")]
    assert [event["event"] for event in events].count("session.started") == CLIENTS
    active = peak = 0
    for event in events:
        active += 1 if event["event"] == "session.started" else -1
        peak = max(peak, active)
    assert peak <= SLOTS
    assert_nothing_is_left(grid)


def test_clients_that_hang_up_cost_nothing(grid: Grid, proxies: tuple[Sessions, Sessions]) -> None:
    clients = [Client(proxies[number % 2]) for number in range(SLOTS * 5)]
    holders, waiters = clients[:SLOTS], clients[SLOTS:]
    with leaving(clients):
        for client in clients:
            client.comes()
        gone, granted_and_gone, patient = waiters[:SLOTS], waiters[SLOTS : SLOTS * 2], waiters[SLOTS * 2 :]
        for client in gone:  # while they wait
            assert client.session
            client.session.end(hung_up())
        for client in gone:
            client.join()
        assert sum(pool.waiting for pool in grid.capacity()) == len(waiters) - len(gone)
        for holder, client in zip(holders, granted_and_gone, strict=True):  # in the moment of their grant
            assert holder.session
            assert client.session
            grid.release(holder.session.id, "over")
            client.session.end(hung_up())
        for client in granted_and_gone:
            client.leaves()
        until(lambda: all(client.is_served.is_set() for client in patient[:SLOTS]), "the patient are served")
        assert not any(client.is_served.is_set() for client in patient[SLOTS:])
        assert all(isinstance(client.error, ClientGone) for client in gone)
    assert_nothing_is_left(grid)


def test_the_queue_takes_exactly_as_many_as_it_may(grid: Grid, redis_url: str, settings: Settings) -> None:
    for name in WORKERS:
        grid.register_worker(spec(name, quota=0))
    limited = settings.model_copy(update={"queue_max_length": 17})
    with proxy(redis_url, "p1", limited) as first, proxy(redis_url, "p2", limited) as second:
        clients = [Client((first, second)[number % 2]) for number in range(60)]
        with leaving(clients):
            for client in clients:
                client.start()
            until(lambda: all(c.is_served.is_set() or c.is_waiting.is_set() or c.error for c in clients), "all answers")
            assert sum(client.is_served.is_set() for client in clients) == SLOTS
            assert sum(client.is_waiting.is_set() for client in clients) == 17
            assert sum(isinstance(client.error, QueueFull) for client in clients) == 60 - 17 - SLOTS
            assert sum(pool.waiting for pool in grid.capacity()) == 17
    assert_nothing_is_left(grid)


def test_what_a_lost_message_would_have_told_is_found_by_a_poll(grid: Grid, redis_url: str, settings: Settings) -> None:
    for name in WORKERS:
        grid.register_worker(spec(name, quota=0))
    with proxy(redis_url, "deaf", settings, listens=False) as deaf:
        clients = [Client(deaf) for _ in range(SLOTS + 1)]
        with leaving(clients):
            for client in clients:
                client.comes()
            assert not clients[-1].is_served.is_set()
            clients[0].leaves()
            assert [worker.active for worker in grid.workers()] == [CONCURRENCY] * 2  # it is granted at once
            assert clients[-1].is_served.wait(POLL_INTERVAL_S + 30)
    assert_nothing_is_left(grid)
