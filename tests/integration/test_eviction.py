"""Single keys that Redis has lost, on a real Redis: what nothing leads to any more is found all the same."""

from __future__ import annotations

from appliance.grid.grid import Registry
from appliance.grid.values import SessionRequest
from appliance.names import Browser
from tests.support.claims import claim, spec
from tests.support.waiting import until

WANTED = SessionRequest(Browser.CHROMIUM, "1.65")


def lose(registry: Registry, *names: tuple[str, ...]) -> None:
    assert registry.store.read(("DEL", *[registry.store.key(*name) for name in names])) == [len(names)]


def is_there(registry: Registry, *name: str) -> bool:
    return bool(registry.store.read(("EXISTS", registry.store.key(*name)))[0])


def until_it_is_reaped(registry: Registry, *name: str) -> None:
    def is_gone() -> bool:
        registry.reap()
        return not is_there(registry, *name)

    until(is_gone, f"{name} is reaped")


def wait_behind_another(registry: Registry, session: str, wait_ms: int) -> None:
    registry.register_worker(spec("A", concurrency=1))
    assert claim(registry, "first")["state"] == "active"
    answer = registry.claim(session, WANTED, proxy="p", lease_ms=60_000, wait_ms=wait_ms, queue_max=100)
    assert answer["state"] == "waiting"


def test_a_waiters_record_to_which_nothing_leads_is_removed_after_its_deadline(registry: Registry) -> None:
    wait_behind_another(registry, "waits", wait_ms=50)
    lose(registry, ("queue", "chromium", "1.65"), ("deadlines",))
    until_it_is_reaped(registry, "session", "waits")


def test_a_waiter_whose_deadline_redis_lost_goes_on_waiting(registry: Registry) -> None:
    wait_behind_another(registry, "waits", wait_ms=60_000)
    lose(registry, ("deadlines",))
    registry.reap()
    assert claim(registry, "waits")["state"] == "waiting"
    registry.release("first", "released")
    assert claim(registry, "waits")["state"] == "active"


def test_an_active_sessions_record_to_which_nothing_leads_ends_with_its_lease(registry: Registry) -> None:
    registry.register_worker(spec("A", concurrency=1))
    registry.claim("s", WANTED, proxy="p", lease_ms=50, wait_ms=60_000, queue_max=100)
    lose(registry, ("leases",), ("worker", "A"), ("worker", "A", "sessions"), ("workers",))
    until_it_is_reaped(registry, "session", "s")


def test_a_workers_records_to_which_nothing_leads_are_removed(registry: Registry) -> None:
    registry.register_worker(spec("A", concurrency=1, ttl_ms=50))
    claim(registry, "s")
    lose(registry, ("workers",), ("pool", "chromium", "1.65"), ("serving", "chromium", "1.65", "here"))
    until_it_is_reaped(registry, "worker", "A")
    assert not is_there(registry, "worker", "A", "sessions")


def test_lost_sessions_of_a_lost_worker_hold_no_slots(registry: Registry) -> None:
    registry.register_worker(spec("A", concurrency=1))
    claim(registry, "s")
    lose(registry, ("workers",), ("worker", "A"), ("pool", "chromium", "1.65"), ("serving", "chromium", "1.65", "here"))
    registry.reap()
    assert is_there(registry, "worker", "A", "sessions")
    lose(registry, ("session", "s"), ("leases",))
    until_it_is_reaped(registry, "worker", "A", "sessions")


def test_records_are_found_among_the_many_keys_of_another_user(registry: Registry) -> None:
    registry.store.read(*[("SET", f"other:{number}", "") for number in range(2000)])
    wait_behind_another(registry, "waits", wait_ms=50)
    lose(registry, ("queue", "chromium", "1.65"), ("deadlines",))
    until_it_is_reaped(registry, "session", "waits")


def test_a_session_that_was_granted_two_slots_gives_the_first_one_back(registry: Registry) -> None:
    registry.register_worker(spec("A", concurrency=1))
    assert claim(registry, "s")["worker"] == "A"
    lose(registry, ("session", "s"))
    registry.register_worker(spec("B", concurrency=1, target=2))
    assert claim(registry, "s")["worker"] == "B"
    registry.heartbeat_worker("A", 0, healthy=True)
    assert claim(registry, "next")["worker"] == "A"
