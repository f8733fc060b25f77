"""Slots on a real Redis: claimed, waited for, handed over, given back, and never lost."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Blame, ClientGone, DialFailed
from appliance.grid.grid import Grid
from appliance.grid.mailbox import Mailbox
from appliance.grid.session import Session, hung_up
from appliance.grid.sessions import Sessions
from appliance.grid.store import ANSWER_TIMEOUT_S, Store
from appliance.grid.values import SessionRequest
from appliance.names import Browser
from appliance.request_errors import (
    BadRequest,
    BrowserNotServed,
    NoSlot,
    NoWorker,
    QueueFull,
    ShuttingDown,
    StoreUnavailable,
    VersionNotServed,
)
from appliance.settings import config
from appliance.settings.config import Settings
from tests.support.announced import announcement
from tests.support.claims import claim, spec
from tests.support.waiting import until

WANTED = SessionRequest(Browser.CHROMIUM, "1.65")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("APPLIANCE_ENV", str(tmp_path / "none"))
    return config.load(queue_timeout=10, queue_max_length=3)


@pytest.fixture
def sessions(grid: Grid, settings: Settings) -> Iterator[Sessions]:
    """Provide the sessions of a proxy that listens to its messages."""
    sessions = Sessions(grid, settings, "proxy-1")
    mailbox = Mailbox(grid.store, "proxy", "proxy-1", sessions.handle)
    listener = threading.Thread(target=mailbox.run)
    listener.start()
    assert mailbox.wait_until_listening(30)
    yield sessions
    mailbox.close()
    listener.join()


def ignore(_: Session) -> None:
    """Watch nothing."""


def test_32_claims_at_once_over_10_slots_give_10_sessions_and_22_waiters(redis_url: str, grid: Grid) -> None:
    for name in "AB":
        grid.register_worker(spec(name))
    together = threading.Barrier(32)

    def one(number: int) -> str:
        own = Grid(Store(redis_url, "test"))
        together.wait()
        return str(claim(own, str(number))["status"])

    with ThreadPoolExecutor(32) as pool:
        states = list(pool.map(one, range(32)))
    assert (states.count("active"), states.count("waiting")) == (10, 22)
    assert [worker.active for worker in grid.workers()] == [5, 5]
    assert sum(pool.waiting for pool in grid.capacity()) == 22


def test_a_repeated_claim_takes_no_second_slot(grid: Grid) -> None:
    grid.register_worker(spec("A"))
    assert claim(grid, "s") == {**claim(grid, "s"), "waited_ms": 0}
    assert grid.workers()[0].active == 1
    assert grid.release("s", "over") is True
    assert grid.release("s", "over") is False
    assert grid.workers()[0].active == 0


def test_a_freed_slot_goes_to_the_longest_waiting_and_its_proxy_is_told(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A", concurrency=1))
    claim(grid, "first")
    waiting = threading.Event()
    granted = threading.Event()

    def wait() -> None:
        with sessions.open(WANTED, lambda _: waiting.set()):
            granted.set()

    sessions._claims._poll_s = 3600  # so that it must be told
    waiter = threading.Thread(target=wait)
    waiter.start()
    assert waiting.wait(30)
    assert claim(grid, "newcomer")["status"] == "waiting"
    grid.release("first", "over")
    assert granted.wait(30), "the message was lost"
    waiter.join()
    until(lambda: claim(grid, "newcomer")["status"] == "active", "the newcomer is next")


def test_a_client_that_hangs_up_while_it_waits_costs_nothing(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A", concurrency=1))
    claim(grid, "s")
    with pytest.raises(ClientGone), sessions.open(WANTED, lambda session: session.end(hung_up())):
        pytest.fail("no slot was free")
    assert [session.id for session in grid.sessions()] == ["s"]


def test_errors_say_what_to_do(grid: Grid, settings: Settings) -> None:
    sessions = Sessions(grid, settings.model_copy(update={"queue_timeout": 0.2}), "proxy-2")
    grid.register_worker(spec("A", concurrency=1))
    claim(grid, "holder")
    for wanted, error, said in (
        (SessionRequest(Browser.FIREFOX, "1.65"), BrowserNotServed, "no firefox"),
        (SessionRequest(Browser.CHROMIUM, "1.2"), VersionNotServed, "Served: 1.65"),
        (WANTED, NoSlot, "within 0.2 s"),
    ):
        with pytest.raises(error, match=said) as raised, sessions.open(wanted, ignore):
            pytest.fail("no slot was free")
        assert raised.value.hint
    for waiter in "abc":
        claim(grid, waiter)
    with pytest.raises(QueueFull), sessions.open(WANTED, ignore):
        pytest.fail("the queue was full")
    assert len(grid.sessions()) == 4


def test_a_pre_release_whose_stable_driver_is_not_there_is_told_so(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A"))
    agent = "Playwright/1.66.0-alpha-2026-11-20 (x64; debian 12) node/20.1"
    with (
        pytest.raises(VersionNotServed) as raised,
        sessions.open(replace(WANTED, minor="1.66", user_agent=agent), ignore),
    ):
        pytest.fail("nobody serves it")
    assert "The client is a pre-release, 1.66.0-alpha-2026-11-20." in str(raised.value)
    assert "perhaps none is released yet" in str(raised.value)


def test_a_proxy_that_leaves_says_so_where_it_alone_would_serve(grid: Grid, settings: Settings) -> None:
    """Redis may have forgotten the other appliances, which have not announced themselves again."""
    leaving = ShuttingDown("The appliance is shutting down.")
    sessions = Sessions(grid, settings, "proxy-2", reason_to_leave=lambda: leaving)
    with pytest.raises(ShuttingDown), sessions.open(WANTED, ignore):
        pytest.fail("nobody serves")


def test_who_waited_while_no_worker_ran_is_told_why_none_does(grid: Grid, settings: Settings) -> None:
    sessions = Sessions(grid, settings.model_copy(update={"queue_timeout": 0.2}), "proxy-2")
    grid.announce(announcement("here"))

    def told() -> str:
        with pytest.raises(NoWorker) as raised, sessions.open(WANTED, ignore):
            pytest.fail("there is no slot")
        return str(raised.value)

    assert told() == "No chromium worker is running."
    grid.report_failure("here", "chromium-00", Browser.CHROMIUM, "No space left on device", 60)
    grid.report_failure("here", "firefox-00", Browser.FIREFOX, "another browser", 60)
    because = "No chromium worker is running, because chromium-00 of here failed: No space left on device"
    assert told() == f"{because}."
    grid.report_failure("here", "chromium-01", Browser.CHROMIUM, "the same.", 60)
    assert told() == f"{because} (2 workers fail)."


def test_a_failure_is_forgotten_when_its_worker_serves_or_after_a_while(grid: Grid) -> None:
    for name, ttl_s in (("A", 60), ("B", 60), ("C", 0.05)):
        grid.report_failure("here", name, Browser.CHROMIUM, "no display", ttl_s)
    grid.register_worker(spec("A"))
    until(lambda: [one.name for one in grid.failures(Browser.CHROMIUM)] == ["B"], "only one is left")


def test_a_dead_proxys_slots_come_free_when_their_leases_expire(grid: Grid) -> None:
    grid.register_worker(spec("A"))
    for session in "ab":
        grid.claim(session, WANTED, proxy="dead", lease_ms=100, wait_ms=100, queue_max=9)
    assert grid.workers()[0].active == 2
    until(lambda: grid.reap()["sessions"] or not grid.workers()[0].active, "the leases expire")
    until(lambda: grid.reap() and not grid.workers()[0].active, "both are reaped")


def test_a_renewed_lease_does_not_expire(grid: Grid) -> None:
    grid.register_worker(spec("A"))
    grid.claim("s", WANTED, proxy="p", lease_ms=200, wait_ms=100, queue_max=9)
    assert grid.renew("p", {"s": "A", "unheard-of": "A"}, 60_000) == (["unheard-of"], {})
    grid.claim("control", WANTED, proxy="dead", lease_ms=200, wait_ms=100, queue_max=9)
    until(lambda: grid.reap()["sessions"], "the lease of the control expires")
    assert [session.id for session in grid.sessions()] == ["s"]


def test_a_ticket_of_a_dead_proxy_is_skipped(grid: Grid) -> None:
    grid.register_worker(spec("A", concurrency=1))
    claim(grid, "holder")
    grid.claim("dead", WANTED, proxy="dead", lease_ms=60_000, wait_ms=60_000, queue_max=9)
    claim(grid, "alive")
    grid.renew("dead", {}, -1)  # its last sign of life is over
    grid.release("holder", "over")
    assert claim(grid, "alive")["status"] == "active"


def test_an_outage_does_not_count_as_the_workers_silence(
    grid: Grid, sessions: Sessions, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("Redis is away.")

    grid.register_worker(spec("A"))
    with sessions.open(WANTED, ignore) as session:
        store.read(("FLUSHALL",))
        sessions.renew()
        assert session.unknown_until, "its worker has not registered again yet"
        monkeypatch.setattr(grid, "renew", fail)
        with pytest.raises(StoreUnavailable):
            sessions.renew()
        assert session.unknown_until is None


def test_a_session_that_ends_while_redis_is_away_is_released_when_redis_answers(
    grid: Grid, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("Redis is away.")

    grid.register_worker(spec("A"))
    with monkeypatch.context() as away, sessions.open(WANTED, ignore):
        away.setattr(grid, "release", fail)
    assert [worker.active for worker in grid.workers()] == [1]
    sessions.renew()
    assert [worker.active for worker in grid.workers()] == [0]
    assert grid.events()[-1]["event"] == "session.ended"


def test_a_lost_workers_sessions_end_with_that_reason(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A"))
    told: list[str] = []
    with sessions.open(WANTED, ignore) as session:
        session.relay(lambda reason, _: told.append(reason))
        grid.register_worker(spec("A", ttl_ms=-1))
        until(lambda: grid.reap()["workers"], "the heartbeat is missed")
        until(lambda: told, "the proxy is told")
    assert told == ["worker A stopped answering"]
    assert not grid.workers()
    assert not grid.sessions()


def test_a_session_whose_worker_is_lost_while_it_is_dialled_goes_to_another(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A", lifetime=5))
    grid.register_worker(spec("B"))
    ended: list[str] = []
    with sessions.open(WANTED, ignore) as session:
        assert session.grant
        assert session.grant.worker_id == "A"
        grid.remove_worker("A", "worker A stopped answering")
        until(lambda: session._end, "its proxy is told")
        sessions.retry(session, DialFailed("it is gone", Blame.WORKER), ignore)
        assert session.grant.worker_id == "B"
        session.relay(lambda reason, _: ended.append(reason))
        sessions.handle({"end": session.id, "worker": "A", "reason": "worker A stopped answering"})  # told late
        assert ended == []
        grid.remove_worker("B", "worker B stopped answering")
        until(lambda: ended == ["worker B stopped answering"], "its proxy is told")


def test_a_session_that_redis_forgot_while_it_was_dialled_goes_to_another_worker(
    store: Store, grid: Grid, settings: Settings
) -> None:
    sessions = Sessions(grid, settings.model_copy(update={"worker_ttl": 0.01}), "proxy-1")
    grid.register_worker(spec("A"))
    ended: list[str] = []
    with sessions.open(WANTED, ignore) as session:
        store.read(("FLUSHALL",))
        grid.register_worker(spec("B"))
        sessions.renew()
        time.sleep(0.02)  # its worker's time to live
        sessions.renew()
        sessions.retry(session, DialFailed("it is gone", Blame.WORKER), ignore)
        assert session.grant
        assert session.grant.worker_id == "B"
        session.relay(lambda reason, _: ended.append(reason))
        sessions.renew()
        assert ended == []


def test_sessions_that_redis_forgot_are_taken_up_though_their_slots_are_given(
    store: Store, grid: Grid, sessions: Sessions
) -> None:
    grid.register_worker(spec("A", concurrency=1))
    with sessions.open(WANTED, ignore) as session:
        told: list[str] = []
        session.relay(lambda reason, _: told.append(reason))
        store.read(("FLUSHALL",), ("FUNCTION", "FLUSH"))
        grid.register_worker(spec("A", concurrency=1))
        sessions.renew()
        assert [worker.active for worker in grid.workers()] == [1]
        store.read(("FLUSHALL",))
        grid.register_worker(spec("A", concurrency=1))
        claim(grid, "usurper")
        sessions.renew()
        assert [worker.active for worker in grid.workers()] == [2]
        assert "worker.over_admitted" in [event["event"] for event in grid.events()]
        grid.release("usurper", "over")
        assert claim(grid, "newcomer")["status"] == "waiting", "the worker has no slot to give yet"
        assert told == []


def test_a_proxy_that_was_away_takes_up_its_sessions_before_it_lets_a_new_one_in(
    store: Store, grid: Grid, settings: Settings
) -> None:
    sessions = Sessions(grid, settings.model_copy(update={"lease_ttl": 0.01}), "proxy-1")
    grid.register_worker(spec("A", concurrency=1))
    with sessions.open(WANTED, ignore) as old:
        store.read(("FLUSHALL",))
        grid.register_worker(spec("A", concurrency=1))
        late = time.monotonic() + 0.01
        until(lambda: time.monotonic() > late, "its lease has expired")
        new = threading.Thread(target=lambda: enter(sessions))
        new.start()
        until(lambda: [session.status for session in grid.sessions()] == ["active", "waiting"], "the new one waits")
        assert grid.sessions()[0].id == old.id
    new.join()


def test_a_proxy_whose_leases_have_expired_keeps_its_sessions_where_it_can(
    store: Store, grid: Grid, settings: Settings
) -> None:
    sessions = Sessions(grid, settings.model_copy(update={"lease_ttl": 0.01}), "proxy-1")
    mailbox = Mailbox(store, "proxy", "proxy-1", sessions.handle)
    listener = threading.Thread(target=mailbox.run)
    listener.start()
    assert mailbox.wait_until_listening(30)
    grid.register_worker(spec("A", concurrency=1))
    with sessions.open(WANTED, ignore) as session:
        until(lambda: grid.reap()["sessions"], "another proxy ends it, as it was cut off")
        until(lambda: [one.id for one in grid.sessions()] == [session.id], "it is asserted as soon as it is told")
    mailbox.close()
    listener.join()


def test_past_the_leases_all_who_come_while_redis_hangs_are_refused_together(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = Store(f"redis://127.0.0.1:{silent.getsockname()[1]}", "test")
        sessions = Sessions(Grid(store), settings.model_copy(update={"lease_ttl": 0.01}), "proxy-1")
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 0.01, "the leases have expired")
        with ThreadPoolExecutor(8) as pool:
            refused = [pool.submit(enter, sessions) for _ in range(8)]
            assert all(isinstance(one.exception(), StoreUnavailable) for one in refused)
        assert time.monotonic() - began < 5 * ANSWER_TIMEOUT_S, "they waited for each other"


def enter(sessions: Sessions) -> None:
    """Have a session for a moment."""
    with sessions.open(WANTED, ignore):
        pass


def test_a_drained_worker_is_told_when_its_last_session_ends(store: Store, grid: Grid) -> None:
    messages: list[dict[str, object]] = []
    mailbox = Mailbox(store, "worker", "A", messages.append)
    listener = threading.Thread(target=mailbox.run)
    listener.start()
    assert mailbox.wait_until_listening(30)
    grid.register_worker(spec("A"))
    claim(grid, "s")
    assert grid.drain_worker("A", "operator") == 1
    grid.release("s", "over")
    until(lambda: len(messages) == 2, "both messages come")
    assert messages == [{"drain": "operator"}, {"drained": True}]
    grid.register_worker(spec("A"))
    assert grid.workers()[0].status == "draining"
    mailbox.close()
    listener.join()


def test_launch_turns_are_spaced_per_appliance(grid: Grid) -> None:
    assert grid.take_launch_turn("a", 1.5) == 0
    assert 0 < grid.take_launch_turn("a", 1.5) <= 1.5
    assert grid.take_launch_turn("b", 1.5) == 0
    until(lambda: grid.take_launch_turn("a", 1.5) == 0, "the next turn comes")


def test_connections_keep_the_slots_that_redis_forgot_until_they_are_asserted(
    store: Store, grid: Grid, sessions: Sessions
) -> None:
    grid.register_worker(spec("A", concurrency=2))
    with sessions.open(WANTED, ignore):
        store.read(("FLUSHALL",))
        grid.register_worker(spec("A", concurrency=2, connections=1, settle_ms=60_000))
        assert [claim(grid, name)["status"] for name in ("new", "one too many")] == ["active", "waiting"]
        sessions.renew()
        assert [worker.active for worker in grid.workers()] == [2]
        grid.release("new", "over")
        assert claim(grid, "one too many")["status"] == "active"


def test_a_session_granted_meanwhile_is_not_taken_for_a_connection_that_redis_forgot(grid: Grid) -> None:
    grid.register_worker(spec("A", concurrency=2, connections=1, settle_ms=60_000))
    assert claim(grid, "new")["status"] == "active"
    grid.heartbeat_worker("A", 0, connections=1, settle_ms=60_000)  # "new" is not connected yet
    assert claim(grid, "one too many")["status"] == "waiting"


def test_connections_that_nobody_asserts_free_their_slots_when_the_worker_settles(grid: Grid) -> None:
    grid.register_worker(spec("A", concurrency=1, connections=1, settle_ms=1000))
    assert claim(grid, "s")["status"] == "waiting"

    def beat() -> bool:
        grid.heartbeat_worker("A", 0)
        return bool(claim(grid, "s")["status"] == "active")

    until(beat, "a heartbeat after the settling places the worker")


def shift_clock(grid: Grid, by_ms: int) -> None:
    """Let the server's clock seem to have jumped, since the library last looked at it."""
    key = grid.store.key("clock")
    seen, then, longest = until(lambda: grid.reap(0.1) and grid.store.read(("GET", key))[0], "it looks").split()
    grid.store.read(("SET", key, f"{int(seen) - by_ms} {then} {longest}"))


def test_a_silence_of_everyone_makes_nobody_late(grid: Grid) -> None:
    grid.register_worker(spec("A", ttl_ms=2000))
    for _ in range(3):
        shift_clock(grid, 3_600_000)
        assert grid.reap(0.1) == {"workers": 0, "sessions": 0, "waiting": 0}
    until(lambda: grid.reap(0.1)["workers"] == 1, "the worker is late after its TTL of calls")


@pytest.mark.parametrize("lost", [["clock"], ["clock", "workers"]])
def test_a_clock_that_redis_lost_makes_nobody_late(lost: list[str], grid: Grid) -> None:
    key = grid.store.key("clock")
    seen, then, longest = until(lambda: grid.reap(0.1) and grid.store.read(("GET", key))[0], "it looks").split()
    grid.store.read(("SET", key, f"{seen} {int(then) - 3_600_000} {longest}"))  # there were silences of an hour
    for name in "AB":
        grid.register_worker(spec(name, ttl_ms=5000))
    grid.store.read(("DEL", *(grid.store.key(name) for name in lost)))
    for _ in range(3):  # the first one lists the workers again, the next would find them late
        assert grid.reap(0.1)["workers"] == 0
    assert [worker.id for worker in grid.workers()] == ["A", "B"]


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000])
def test_a_step_of_the_servers_clock_is_none_of_the_grids(grid: Grid, step_ms: int) -> None:
    grid.register_worker(spec("A"))
    before = grid.workers()[0].heartbeat_ms
    shift_clock(grid, step_ms)
    until(lambda: grid.heartbeat_worker("A", 0) and grid.workers()[0].heartbeat_ms > before, "time goes on")
    assert grid.workers()[0].heartbeat_ms - before < 60_000
    assert not grid.workers()[0].stale


def test_a_heartbeats_answer_says_why_its_worker_drains(grid: Grid) -> None:
    grid.register_worker(spec("A"))
    grid.drain_worker("A", "drained by operator")
    answer = grid.heartbeat_worker("A", 0)
    assert answer
    assert (answer["status"], answer["reason"]) == ("draining", "drained by operator")


def test_300_sessions_that_end_at_once_are_all_released(grid: Grid) -> None:
    """More than the client's own limit of connections, and Redis answers none before all have asked."""
    grid.store.read(("CLIENT", "PAUSE", 500, "ALL"))
    with ThreadPoolExecutor(300) as executor:
        released = list(executor.map(lambda number: grid.release(f"s{number}", "closed"), range(300)))
    assert released == [False] * 300  # none was known, but each was asked for


def test_many_who_find_the_library_missing_may_all_load_it(grid: Grid) -> None:
    grid.store.read(("FUNCTION", "FLUSH"), ("CLIENT", "PAUSE", 200, "ALL"))
    with ThreadPoolExecutor(16) as executor:
        answers = list(executor.map(lambda _: grid.reap(), range(16)))
    assert answers == [{"workers": 0, "sessions": 0, "waiting": 0}] * 16


KEPT = SessionRequest(Browser.CHROMIUM, "1.65", token="ci", kept_as="cart")


def claim_kept(grid: Grid, session: str, request: SessionRequest = KEPT) -> str:
    answer = grid.claim(session, request, proxy="proxy-1", lease_ms=60_000, wait_ms=60_000, queue_max=9)
    return str(answer["status"])


def test_a_name_to_reconnect_by_is_one_sessions_of_its_token(grid: Grid) -> None:
    grid.register_worker(spec("A"))
    assert grid.find_kept(KEPT) == {"status": "none"}
    assert claim_kept(grid, "first") == "active"
    assert claim_kept(grid, "first") == "active", "asked again"
    assert claim_kept(grid, "second") == "taken"
    assert claim_kept(grid, "of-another-token", replace(KEPT, token="agents")) == "active"
    assert claim_kept(grid, "of-no-name", replace(KEPT, kept_as="")) == "active"
    found = grid.find_kept(KEPT)
    assert (found["session"], found["worker"], found["browser"]) == ("first", "A", "chromium")
    grid.release("first", "over")
    assert grid.find_kept(KEPT) == {"status": "none"}
    assert claim_kept(grid, "second") == "active"


def test_a_name_is_taken_while_its_session_waits_and_free_when_that_gives_up(grid: Grid) -> None:
    grid.register_worker(spec("A", concurrency=1))
    claim(grid, "s")
    assert claim_kept(grid, "first") == "waiting"
    assert grid.find_kept(KEPT) == {"status": "waiting"}
    assert claim_kept(grid, "second") == "taken"
    grid.release("first", "client disconnected")
    assert grid.find_kept(KEPT) == {"status": "none"}


def test_a_session_is_shown_as_kept_since_its_client_went(grid: Grid) -> None:
    grid.register_worker(spec("A"))
    claim_kept(grid, "first")
    grid.keep_session("first", is_kept=True)
    before = grid.sessions()
    grid.keep_session("first", is_kept=True)
    assert grid.sessions() == before
    assert (before[0].status, before[0].kept_as, before[0].holds_slot) == ("kept", "cart", True)
    assert 0 < before[0].kept_since_ms <= grid.now_ms()
    grid.keep_session("first", is_kept=False)
    assert (grid.sessions()[0].status, grid.sessions()[0].kept_since_ms) == ("active", 0)
    grid.keep_session("unknown", is_kept=True)
    assert [event["event"] for event in grid.events()][-2:] == ["session.kept", "session.resumed"]


def test_a_name_that_redis_lost_is_noted_again_unless_another_session_has_it(grid: Grid) -> None:
    grid.register_worker(spec("A"))
    claim_kept(grid, "first")
    for expected in ("first", "second"):
        grid.store.read(("DEL", grid.store.key("kept")))
        if expected == "second":
            claim_kept(grid, "second")
        grid.renew("proxy-1", {"first": "A"}, 60_000)
        assert grid.find_kept(KEPT)["session"] == expected


def test_a_kept_session_that_redis_forgot_is_kept_again_under_its_name(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A"))
    with sessions.open(KEPT, ignore) as session:
        sessions.keep(session, is_kept=True)
        grid.release(session.id, "lost", "A", ended_by=None)
        assert grid.find_kept(KEPT) == {"status": "none"}
        sessions.renew()
        assert grid.find_kept(KEPT)["session"] == session.id
        assert [one.status for one in grid.sessions()] == ["kept"]
    assert grid.find_kept(KEPT) == {"status": "none"}


def test_a_proxy_that_leaves_keeps_no_session_without_a_client(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A"))
    ends: list[str] = []
    with sessions.open(KEPT, ignore) as kept, sessions.open(WANTED, ignore) as visited:
        kept.relay(lambda reason, _: ends.append(reason))
        visited.relay(lambda reason, _: ends.append(reason))
        sessions.keep(kept, is_kept=True)
        sessions.keep_no_more("appliance a is shutting down")
        assert ends == ["appliance a is shutting down"]
        sessions.keep(visited, is_kept=True)
        assert len(ends) == 2


def test_a_client_of_another_version_is_told_which_the_session_has(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A"))
    claim_kept(grid, "first")
    with pytest.raises(
        VersionNotServed, match=r"Session 'cart' is one of Playwright 1\.65, and the client is of 1\.66"
    ):
        sessions.find_kept(replace(KEPT, minor="1.66"))
    assert sessions.find_kept(replace(KEPT, minor="")), "the driver decides"


def test_a_visit_that_ends_while_its_worker_is_dialled_ends_as_soon_as_it_is_relayed(
    grid: Grid, sessions: Sessions
) -> None:
    grid.register_worker(spec("A"))
    ends: list[str] = []
    claim_kept(grid, "first")
    grant = sessions.find_kept(KEPT)
    assert grant
    with sessions.visits.open(grant) as visit:
        assert len(sessions) == 1, "it counts before it is relayed"
        sessions.end_all("drained")
        sessions.visits.end(grant.session_id, "a later reason")
        visit.relay(lambda reason, _: ends.append(reason))
    assert ends == ["drained"]


def test_visits_of_another_proxys_sessions_count_and_end_with_the_others(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A"))
    ends: list[str] = []
    claim_kept(grid, "first")
    grant = sessions.find_kept(KEPT)
    assert grant
    with sessions.open(WANTED, ignore) as own, sessions.visits.open(grant) as visit:
        assert len(sessions) == 2
        visit.relay(lambda reason, _: ends.append(reason))
        with sessions.visits.open(replace(grant, session_id=own.id)):
            assert len(sessions) == 2, "it counts already"
        sessions.visits.end("another", "no")
        sessions.end_all("drained")
    assert ends == ["drained"]
    assert len(sessions) == 0


def test_the_client_of_another_proxys_session_is_told_why_their_worker_ended(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A"))
    ends: list[str] = []
    assert grid.claim("first", KEPT, proxy="proxy-2", lease_ms=60_000, wait_ms=0, queue_max=0)["status"] == "active"
    grant = sessions.find_kept(KEPT)
    assert grant
    with sessions.visits.open(grant) as visit:
        visit.relay(lambda reason, _: ends.append(reason))
        sessions.handle({"end": "first", "worker": "B", "reason": "of a worker that it had before"})
        grid.remove_worker("A", "the driver of worker A ended: signal 9")
        until(lambda: ends, "its proxy is told")
    assert ends == ["the driver of worker A ended: signal 9"]


def test_only_a_client_that_is_served_is_noted_as_a_visitor(grid: Grid, sessions: Sessions) -> None:
    def visitor() -> object:
        return grid.store.read(("HGET", grid.store.key("session", "first"), "visited_by"))[0]

    grid.register_worker(spec("A"))
    grid.claim("first", KEPT, proxy="proxy-2", lease_ms=60_000, wait_ms=0, queue_max=0)
    with pytest.raises(VersionNotServed):
        sessions.find_kept(replace(KEPT, minor="1.66"))
    grant = sessions.find_kept(KEPT)
    assert grant
    assert visitor() is None
    with sessions.visits.open(grant):
        assert visitor() == "proxy-1"
    grid.release("first", "over")
    with sessions.visits.open(grant):
        assert visitor() is None, "a session that has ended does not come back"


def test_a_client_that_comes_back_may_not_change_when_the_session_ends(grid: Grid, sessions: Sessions) -> None:
    grid.register_worker(spec("A"))
    brief = replace(KEPT, timeout_s=60)
    claim_kept(grid, "first", brief)
    assert sessions.find_kept(brief)
    assert sessions.find_kept(KEPT)
    with pytest.raises(BadRequest, match="Session 'cart' ends 60 s after its first client came"):
        sessions.find_kept(replace(KEPT, timeout_s=61))
