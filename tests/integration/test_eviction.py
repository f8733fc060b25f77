"""Single keys that Redis has lost, on a real Redis: what nothing leads to any more is found all the same."""

from __future__ import annotations

from appliance.grid.grid import Grid
from appliance.grid.values import SessionRequest
from appliance.names import Browser
from tests.support.claims import claim, spec
from tests.support.waiting import until

WANTED = SessionRequest(Browser.CHROMIUM, "1.65")


def lose(grid: Grid, *names: tuple[str, ...]) -> None:
    assert grid.store.read(("DEL", *[grid.store.key(*name) for name in names])) == [len(names)]


def is_there(grid: Grid, *name: str) -> bool:
    return bool(grid.store.read(("EXISTS", grid.store.key(*name)))[0])


def until_it_is_reaped(grid: Grid, *name: str) -> None:
    def is_gone() -> bool:
        grid.reap()
        return not is_there(grid, *name)

    until(is_gone, f"{name} is reaped")


def wait_behind_another(grid: Grid, session: str, wait_ms: int) -> None:
    grid.register_worker(spec("A", concurrency=1))
    assert claim(grid, "first")["status"] == "active"
    answer = grid.claim(session, WANTED, proxy="p", lease_ms=60_000, wait_ms=wait_ms, queue_max=100)
    assert answer["status"] == "waiting"


def test_a_waiters_record_to_which_nothing_leads_is_removed_after_its_deadline(grid: Grid) -> None:
    wait_behind_another(grid, "waits", wait_ms=50)
    lose(grid, ("queue", "chromium", "1.65"), ("deadlines",))
    until_it_is_reaped(grid, "session", "waits")


def test_a_waiter_whose_deadline_redis_lost_goes_on_waiting(grid: Grid) -> None:
    wait_behind_another(grid, "waits", wait_ms=60_000)
    lose(grid, ("deadlines",))
    grid.reap()
    assert claim(grid, "waits")["status"] == "waiting"
    grid.release("first", "released")
    assert claim(grid, "waits")["status"] == "active"


def test_an_active_sessions_record_to_which_nothing_leads_ends_with_its_lease(grid: Grid) -> None:
    grid.register_worker(spec("A", concurrency=1))
    grid.claim("s", WANTED, proxy="p", lease_ms=50, wait_ms=60_000, queue_max=100)
    lose(grid, ("leases",), ("worker", "A"), ("worker", "A", "sessions"), ("workers",))
    until_it_is_reaped(grid, "session", "s")


def test_a_workers_records_to_which_nothing_leads_are_removed(grid: Grid) -> None:
    grid.register_worker(spec("A", concurrency=1, ttl_ms=1000))
    claim(grid, "s")
    lose(grid, ("workers",), ("pool", "chromium", "1.65"), ("serving", "chromium", "1.65", "here"))
    until_it_is_reaped(grid, "worker", "A")
    assert not is_there(grid, "worker", "A", "sessions")


def test_lost_sessions_of_a_lost_worker_hold_no_slots(grid: Grid) -> None:
    grid.register_worker(spec("A", concurrency=1))
    claim(grid, "s")
    lose(grid, ("workers",), ("worker", "A"), ("pool", "chromium", "1.65"), ("serving", "chromium", "1.65", "here"))
    grid.reap()
    assert is_there(grid, "worker", "A", "sessions")
    lose(grid, ("session", "s"), ("leases",))
    until_it_is_reaped(grid, "worker", "A", "sessions")


def test_records_are_found_among_the_many_keys_of_another_user(grid: Grid) -> None:
    grid.store.read(*[("SET", f"other:{number}", "") for number in range(2000)])
    wait_behind_another(grid, "waits", wait_ms=50)
    lose(grid, ("queue", "chromium", "1.65"), ("deadlines",))
    until_it_is_reaped(grid, "session", "waits")


def test_a_session_that_was_granted_two_slots_gives_the_first_one_back(grid: Grid) -> None:
    grid.register_worker(spec("A", concurrency=1))
    assert claim(grid, "s")["worker"] == "A"
    lose(grid, ("session", "s"))
    grid.register_worker(spec("B", concurrency=1, target=2))
    assert claim(grid, "s")["worker"] == "B"
    grid.heartbeat_worker("A", 0, healthy=True)
    assert claim(grid, "next")["worker"] == "A"
