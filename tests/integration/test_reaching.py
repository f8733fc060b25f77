"""A proxy that cannot dial: it harms no worker and no other proxy's sessions, on a real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.deadline import Deadline
from appliance.errors import Blame, DialFailed
from appliance.grid.grid import Grid
from appliance.grid.mailbox import Mailbox
from appliance.grid.reach import Reach
from appliance.grid.session import Session
from appliance.grid.sessions import Sessions
from appliance.grid.values import SessionRequest, WorkerStatus
from appliance.names import Browser
from appliance.request_errors import CannotDial, NoSlot
from appliance.settings import config
from appliance.settings.config import Settings
from tests.support.claims import claim, spec
from tests.support.waiting import until

WANTED = SessionRequest(Browser.CHROMIUM, "1.65")
QUOTA = 50


class Proxy:
    """What of a proxy takes part: its sessions, what it knows of its reach, and its mailbox."""

    def __init__(self, grid: Grid, settings: Settings, name: str) -> None:
        """Listen to the messages for a proxy of that name."""
        self.reach = Reach()
        self.sessions = Sessions(grid, settings, name, reach=self.reach)
        self._mailbox = Mailbox(grid.store, "proxy", name, self.sessions.handle)
        self._listener = threading.Thread(target=self._mailbox.run)
        self._listener.start()
        assert self._mailbox.wait_until_listening(30)

    def close(self) -> None:
        """Listen no more."""
        self._mailbox.close()
        self._listener.join()


Start = Callable[[str], Proxy]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("APPLIANCE_ENV", str(tmp_path / "none"))
    return config.load(queue_timeout=5)


@pytest.fixture
def start(grid: Grid, settings: Settings) -> Iterator[Start]:
    with ExitStack() as to_be_closed:

        def started(name: str) -> Proxy:
            proxy = Proxy(grid, settings, name)
            to_be_closed.callback(proxy.close)
            return proxy

        yield started


@pytest.fixture
def workers(grid: Grid) -> None:
    """Three workers of appliance `there`, with one slot each."""
    for name in "ABC":
        grid.register_worker(spec(name, appliance="there", concurrency=1, quota=QUOTA, target=3))


def ignore(_: Session) -> None:
    """Watch nothing."""


def fail_to_dial(proxy: Proxy, blame: Blame, see: Callable[[str], None] = lambda _: None) -> None:
    """Have a session whose every dial fails, until it is refused; `see` is called with each worker."""
    with proxy.sessions.open(WANTED, ignore) as session:
        while True:
            assert session.grant
            see(session.grant.worker_id)
            proxy.sessions.retry(session, DialFailed("no route", blame), ignore)


def fail_at_the_last_moment(proxy: Proxy, left_s: float = 0) -> None:
    """Have a session whose one dial fails when its deadline has passed, or that much before."""
    with proxy.sessions.open(WANTED, ignore) as session:
        session.deadline = Deadline(left_s)
        proxy.sessions.retry(session, DialFailed("no answer", Blame.WORKER), ignore)


def lifetimes(grid: Grid) -> list[int]:
    return [worker.lifetime for worker in grid.workers()]


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("blame", [Blame.PATH, Blame.SELF])
def test_a_proxy_that_cannot_dial_costs_the_workers_nothing(grid: Grid, start: Start, blame: Blame) -> None:
    sick = start("sick.1")
    for _ in range(10):
        with pytest.raises(CannotDial, match="no route"):
            fail_to_dial(sick, blame)
    assert lifetimes(grid) == [0, 0, 0]
    assert not any(worker.suspect or worker.active for worker in grid.workers())
    assert {worker.status for worker in grid.workers()} == {WorkerStatus.AVAILABLE}
    starts = [event for event in grid.events() if event["event"] == "session.started"]
    assert len(starts) < 10, "the queue was burnt through"


@pytest.mark.usefixtures("workers")
def test_while_a_proxy_cannot_dial_nobody_waits_at_a_healthy_one(grid: Grid, start: Start) -> None:
    sick, healthy, stop = start("sick.1"), start("well.1"), threading.Event()

    def try_in_vain() -> None:
        while not stop.is_set():
            with pytest.raises((CannotDial, NoSlot)):
                fail_to_dial(sick, Blame.PATH)
            sick.reach.forget("there")  # it starts again, and knows nothing: the worst that it can do

    clients = [threading.Thread(target=try_in_vain) for _ in range(4)]
    for client in clients:
        client.start()
    waited_s = []
    for _ in range(100):
        began = time.monotonic()
        with healthy.sessions.open(WANTED, ignore) as session:
            assert session.grant
            waited_s.append(time.monotonic() - began)
    stop.set()
    for client in clients:
        client.join()
    assert max(waited_s) < 4, waited_s  # of the 5 s of QUEUE_TIMEOUT
    assert sum(lifetimes(grid)) == 100, "each failed dial was given back"


@pytest.mark.usefixtures("workers")
def test_a_session_is_not_sent_twice_to_a_worker_that_failed_it(grid: Grid, start: Start) -> None:
    grid.remove_worker("C", "more than two who vouch for themselves would be believed")
    tried: list[str] = []

    def vouch(worker: str) -> None:
        tried.append(worker)
        threading.Thread(target=grid.heartbeat_worker, args=(worker, 0, True)).start()

    with pytest.raises(NoSlot, match="2 dials failed"):
        fail_to_dial(start("here.1"), Blame.WORKER, vouch)
    assert sorted(tried) == ["A", "B"]
    assert len(grid.workers()) == 2


@pytest.mark.usefixtures("workers")
def test_a_session_that_gives_up_the_only_appliance_is_refused_at_once(start: Start) -> None:
    proxy, stop = start("here.1"), threading.Event()

    def reach_it() -> None:
        while not stop.wait(0.01):
            proxy.reach.succeeded("there")

    others = threading.Thread(target=reach_it)
    others.start()
    try:
        with pytest.raises(NoSlot) as refused:
            fail_to_dial(proxy, Blame.PATH)
    finally:
        stop.set()
        others.join()
    assert str(refused.value) == "No chromium worker was reached: 3 dials failed, the last one because no route."


@pytest.mark.usefixtures("workers")
def test_a_failed_dial_is_not_blamed_for_the_wait_for_busy_slots(grid: Grid, start: Start) -> None:
    for number in range(2):
        claim(grid, f"holder-{number}")
    with pytest.raises(NoSlot) as refused:
        fail_at_the_last_moment(start("here.1"), left_s=1.5)
    said = "No other chromium slot came free within 5 s, after 1 dial failed, the last one because no answer."
    assert str(refused.value) == said


@pytest.mark.usefixtures("workers")
def test_who_waits_for_what_it_does_not_avoid_holds_up_nobody_behind_it(grid: Grid) -> None:
    for number in range(3):
        claim(grid, f"holder-{number}")
    avoiding = {"proxy": "sick", "lease_ms": 60_000, "wait_ms": 60_000, "queue_max": 9}
    grid.register_worker(spec("D", appliance="here", concurrency=1))
    claim(grid, "holder-3")
    grid.claim("picky", WANTED, **avoiding, avoid=["there/"])  # type: ignore[arg-type]
    assert claim(grid, "behind it")["status"] == "waiting"
    grid.release("holder-0", "over")
    assert claim(grid, "behind it")["status"] == "active"
    grid.release("holder-3", "over")
    by_id = {session.id: session for session in grid.sessions()}
    assert (by_id["picky"].status, by_id["picky"].worker) == ("active", "D"), "and starves for nobody"


@pytest.mark.usefixtures("workers")
def test_a_session_waits_in_the_place_of_its_arrival_after_a_failed_dial(grid: Grid) -> None:
    first = claim(grid, "first")["worker"]
    for name in ("second", "third"):
        claim(grid, name)
    claim(grid, "fourth")
    grid.give_back("first", first, Blame.PATH)
    assert claim(grid, "fourth")["worker"] == first, "its slot is not kept while it backs off"
    claim(grid, "fifth")
    assert claim(grid, "first")["status"] == "waiting"
    grid.release("second", "over")
    assert claim(grid, "first")["status"] == "active"


def test_a_worker_whose_last_session_was_dialled_in_vain_drains_all_the_same(grid: Grid) -> None:
    grid.register_worker(spec("A", lifetime=19, quota=20))
    claim(grid, "s")
    grid.give_back("s", "A", Blame.PATH)
    (worker,) = grid.workers()
    assert (worker.status, worker.lifetime, worker.active) == (WorkerStatus.DRAINING, 19, 0)


def test_a_proxy_whose_suspects_vouch_for_themselves_is_told_and_stops_to_suspect(grid: Grid, start: Start) -> None:
    grid.register_worker(spec("A", appliance="there", quota=QUOTA))
    proxy = start("here.1")
    for _ in range(2):
        before = sum(proxy.reach._refutations.values())
        with pytest.raises(NoSlot):
            fail_at_the_last_moment(proxy)
        assert grid.workers()[0].suspect
        grid.heartbeat_worker("A", 0, healthy=True)
        until(lambda n=before: sum(proxy.reach._refutations.values()) > n, "the proxy is told")
    with pytest.raises(NoSlot):
        fail_at_the_last_moment(proxy)
    assert not grid.workers()[0].suspect
    assert proxy.reach.avoided == ["there/"]
    assert not grid.is_ready(Browser.CHROMIUM, proxy.reach.avoided)
    assert grid.is_ready(Browser.CHROMIUM)


def test_after_a_dial_that_failed_beyond_the_deadline_no_other_follows(grid: Grid, start: Start) -> None:
    for name in "AB":
        grid.register_worker(spec(name))
    with pytest.raises(NoSlot, match="1 dial failed"):
        fail_at_the_last_moment(start("here.1"))
    assert not grid.sessions()
    assert [worker.suspect for worker in grid.workers()].count(True) == 1
