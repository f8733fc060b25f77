"""How a proxy leaves its load balancer: its status, what it refuses, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.grid.grid import Grid
from appliance.grid.sessions import Sessions
from appliance.grid.store import Store
from appliance.machine.record import Record, record_of
from appliance.request_errors import Drained, ShuttingDown
from appliance.settings import config
from proxy.presence import Presence, Status
from tests.support.greenlets import kill_greenlets


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Presence]]:
    """Return a function that starts a proxy, whose Redis is away."""
    settings = config.load(run_dir=tmp_path, drain_notice=10, appliance_name="here")
    grid = Grid(Store(f"unix://{tmp_path}/none.sock", "test"))
    sessions = Sessions(grid, settings, "here.abcdef")
    yield lambda: Presence(settings, grid, "here.abcdef", sessions, clock=clock)
    kill_greenlets()


@pytest.fixture
def presence(start: Callable[[], Presence]) -> Presence:
    """Return that of a proxy that serves, beside two other appliances."""
    presence = start()
    presence.heed(drained=False, others=2)
    return presence


def test_a_proxy_that_serves_refuses_nobody(presence: Presence) -> None:
    assert presence.status is Status.SERVING
    assert presence.reason_to_leave() is presence.refusal() is presence.refusal_of_waiters() is None
    assert presence.notice_left_s == 0


def test_drained_it_leaves_at_once_and_refuses_when_the_notice_is_over(presence: Presence, clock: Clock) -> None:
    presence.heed(drained=True, others=2)
    assert presence.status is Status.NOTICE
    assert isinstance(presence.reason_to_leave(), Drained)
    assert presence.refusal() is None
    clock.now_s += 10
    assert presence.status is Status.CLOSED
    assert isinstance(presence.refusal(), Drained)
    assert presence.refusal_of_waiters() is None, "others' workers may have a slot for them"


@pytest.mark.parametrize("others_before", [0, 2])
def test_where_nobody_else_serves_it_refuses_at_once_and_those_who_wait_too(
    others_before: int, presence: Presence
) -> None:
    presence.heed(drained=True, others=others_before)
    presence.heed(drained=True, others=0)
    assert presence.status is Status.CLOSED
    assert isinstance(presence.refusal_of_waiters(), Drained)


def test_undrained_it_serves_and_a_new_drain_is_given_notice_again(presence: Presence, clock: Clock) -> None:
    presence.heed(drained=True, others=2)
    clock.now_s += 60
    presence.heed(drained=False, others=2)
    assert presence.status is Status.SERVING
    presence.heed(drained=True, others=2)
    assert presence.notice_left_s == 10


def test_a_proxy_that_is_restarted_while_drained_gives_no_notice_again(start: Callable[[], Presence]) -> None:
    restarted = start()
    restarted.heed(drained=True, others=2)
    assert restarted.status is Status.CLOSED


def test_a_proxy_stays_drained_when_it_is_restarted_while_redis_is_away(
    start: Callable[[], Presence], tmp_path: Path
) -> None:
    record_of(config.load(run_dir=tmp_path)).keep(Record("first", drained=True))
    assert isinstance(start().refusal(), Drained)


def test_a_shutdown_gives_half_of_the_grace_at_most(presence: Presence, clock: Clock) -> None:
    presence.leave(8)
    assert isinstance(presence.reason_to_leave(), ShuttingDown)
    assert presence.notice_left_s == 4
    clock.now_s += 4
    assert isinstance(presence.refusal(), ShuttingDown)
    assert isinstance(presence.refusal_of_waiters(), ShuttingDown)


def test_a_shutdown_after_a_fault_says_so(presence: Presence) -> None:
    presence.leave(8, "restarts its proxy")
    assert str(presence.reason_to_leave()) == "The appliance restarts its proxy."


def test_a_shutdown_after_a_drain_that_was_noticed_gives_none(presence: Presence, clock: Clock) -> None:
    presence.heed(drained=True, others=2)
    clock.now_s += 11
    presence.leave(60)
    assert presence.status is Status.CLOSED
    assert not isinstance(presence.reason_to_leave(), Drained)


def test_what_is_told_during_a_shutdown_does_not_undo_it(presence: Presence, clock: Clock) -> None:
    presence.heed(drained=True, others=2)
    presence.leave(8)
    presence.heed(drained=False, others=2)
    clock.now_s += 4
    assert isinstance(presence.refusal(), ShuttingDown)


def test_a_stopped_proxy_announces_nothing_and_stays_stopped(presence: Presence) -> None:
    presence.leave(0)
    presence.stop()
    presence.announce()  # or it would find that Redis is away
    presence.heed(drained=False, others=2)
    assert presence.status is Status.STOPPED
