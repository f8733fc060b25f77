"""What Redis said is lost on the way, a message or an answer: what was to happen still does, and once."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import Error, sync_playwright

from appliance.grid.claims import POLL_INTERVAL_S
from appliance.grid.grid import Grid
from appliance.grid.store import Store
from tests.support.appliance import TIMINGS, Appliance
from tests.support.redis_relay import RedisRelay, redis_relay
from tests.support.redis_server import redis_server
from tests.support.waiting import until
from tests.support.wire import BareClient

MARGIN_S = 20.0  # for a busy machine
HEARTBEAT_S, RENEWAL_S = TIMINGS["HEARTBEAT_INTERVAL"], TIMINGS["LEASE_RENEW_INTERVAL"]
WORKER_LOST_S = TIMINGS["WORKER_TTL"] + TIMINGS["REAPER_RUN_INTERVAL"]


@pytest.fixture(scope="module")
def relayed() -> Iterator[tuple[Appliance, RedisRelay]]:
    """Run an appliance with one slot, whose Redis is reached through a relay."""
    with (
        redis_server() as url,
        redis_relay(url) as relay,
        Appliance(REDIS_URL=relay.url, MAX_CONCURRENT_SESSIONS=1) as grid,
    ):
        grid.state = Grid(Store(url, "grid"))  # the test itself loses nothing
        yield grid, relay


@pytest.fixture
def relay(relayed: tuple[Appliance, RedisRelay]) -> Iterator[RedisRelay]:
    """Provide the relay, which passes everything on, and does so again in the end."""
    relay = relayed[1]
    relay.lost = 0
    yield relay
    relay.loses_messages = relay.is_away = False


@pytest.fixture
def grid(relayed: tuple[Appliance, RedisRelay], relay: RedisRelay) -> Iterator[Appliance]:
    """Provide the appliance, whose slot is free, and is so again in the end."""
    grid = relayed[0]
    grid.available(1)
    yield grid
    relay.loses_messages = relay.is_away = False
    until(lambda: not grid.state.sessions(), "all slots are free")
    assert [worker.active for worker in grid.available(1)] == [0]


def served(grid: Appliance) -> BareClient:
    """Return a client that has a session."""
    client = BareClient(grid)
    assert client.answer() == (101, "")
    return client


def waiting(grid: Appliance) -> BareClient:
    """Return a client that waits for a session, after the one that has it."""
    client = BareClient(grid)
    until(lambda: len(grid.state.sessions()) == 2, "the client waits")
    return client


def test_a_waiting_client_whose_grant_was_not_told_is_served_by_the_next_poll(
    grid: Appliance, relay: RedisRelay
) -> None:
    holder, waiter = served(grid), waiting(grid)
    relay.loses_messages = True
    holder.close()
    until(lambda: [session.status for session in grid.state.sessions()] == ["active"], "the slot is handed over")
    until(lambda: waiter.is_answered, "the proxy looks", within_s=POLL_INTERVAL_S + MARGIN_S)
    assert waiter.answer() == (101, "")
    assert relay.lost
    waiter.close()


def test_a_proxy_whose_listening_was_cut_is_told_of_grants_again(grid: Appliance) -> None:
    holder, waiter = served(grid), waiting(grid)
    store = grid.state.store
    proxy = grid.state.sessions()[0].proxy
    store.read(("CLIENT", "KILL", "TYPE", "pubsub"))
    until(lambda: store.read(("PUBSUB", "NUMSUB", store.key("proxy", proxy)))[0][1], "it listens again")
    holder.close()
    until(lambda: waiter.is_answered, "the proxy is told")
    assert waiter.answer() == (101, "")
    waiter.close()


def test_a_worker_that_was_not_told_drains_by_its_next_heartbeat_and_ends_by_another(
    grid: Appliance, relay: RedisRelay
) -> None:
    (worker,) = grid.available(1)
    holder = served(grid)
    relay.loses_messages = True
    grid.applctl("workers", "drain", worker.name)
    drains = f"event=worker.draining worker={worker.id}"
    until(lambda: drains in grid.log(worker.name), "it drains", within_s=HEARTBEAT_S + MARGIN_S)
    assert [session.worker for session in grid.state.sessions()] == [worker.id]
    holder.close()
    gone = lambda: worker.id not in {worker.id for worker in grid.state.workers()}  # noqa: E731
    until(gone, "it ends", within_s=HEARTBEAT_S + MARGIN_S)
    assert relay.lost >= 2


def test_a_session_whose_end_was_not_told_ends_when_its_worker_has_been_unknown(
    grid: Appliance, relay: RedisRelay
) -> None:
    worker = psutil.Process(grid.available(1)[0].pid)
    with sync_playwright() as playwright:
        page = playwright.chromium.connect(grid.endpoint).new_page()
        relay.loses_messages = True
        worker.suspend()
        try:
            until(lambda: not grid.state.workers(), "the worker is reaped", within_s=WORKER_LOST_S + MARGIN_S)
            with pytest.raises(Error, match="worker chromium-00 stopped answering"):
                until(
                    lambda: page.title() == "never",
                    "the client is told",
                    within_s=TIMINGS["WORKER_TTL"] + RENEWAL_S + MARGIN_S,
                )
        finally:
            worker.resume()
    assert relay.lost


def test_a_claim_whose_answer_was_lost_takes_one_slot(grid: Appliance, relay: RedisRelay) -> None:
    lifetime = grid.available(1)[0].lifetime
    relay.lose_answer("claim")
    client = served(grid)
    assert relay.lost == 1
    assert [(worker.active, worker.lifetime) for worker in grid.state.workers()] == [(1, lifetime + 1)]
    assert [session.status for session in grid.state.sessions()] == ["active"]
    client.close()


def test_a_claim_whose_answer_never_comes_is_refused_and_its_slot_comes_free(
    grid: Appliance, relay: RedisRelay
) -> None:
    relay.lose_answer("claim", and_go_away=True)
    status, message = BareClient(grid).answer()
    assert (status, message.partition(":")[0]) == (503, "Redis does not answer.")
    assert [session.status for session in grid.state.sessions()] == ["active"]
    until(lambda: "event=session.release_delayed" in grid.log("proxy"), "the proxy cannot release it")
    relay.is_away = False
    until(lambda: not grid.state.sessions(), "it is released with the next renewal", within_s=RENEWAL_S + MARGIN_S)
    served(grid).close()


@pytest.mark.parametrize("and_go_away", [False, True])
def test_a_release_whose_answer_was_lost_frees_its_slot_once(
    and_go_away: bool, grid: Appliance, relay: RedisRelay
) -> None:
    client = served(grid)
    (session,) = grid.state.sessions()
    relay.lose_answer("release", and_go_away=and_go_away)
    client.close()
    until(lambda: relay.lost, "the release is made, and its answer lost")
    assert not grid.state.sessions()
    relay.is_away = False
    served(grid).close()
    ended = [event for event in grid.state.events() if event["event"] == "session.ended"]
    assert [event["reason"] for event in ended if event["session"] == session.id] == ["client disconnected"]


def test_sessions_whose_kill_was_not_told_end_by_the_next_renewal(grid: Appliance, relay: RedisRelay) -> None:
    holder, waiter = served(grid), waiting(grid)
    relay.loses_messages = True
    grid.applctl("sessions", "kill", "--all")
    until(lambda: waiter.is_answered, "the proxy looks", within_s=RENEWAL_S + MARGIN_S)
    assert waiter.answer() == (503, "session closed by operator")
    until(lambda: not grid.state.sessions(), "both are over", within_s=MARGIN_S)
    assert relay.lost
    holder.close()
    waiter.close()
