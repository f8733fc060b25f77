"""How a proxy leaves its load balancer: what it refuses, when and why."""

from __future__ import annotations

import pytest

from appliance.errors import Drained, ShuttingDown
from proxy.departure import Departure


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def departure(clock: Clock) -> Departure:
    """Give that of a proxy that serves, beside two other appliances."""
    departure = Departure(10, clock)
    departure.note(drained=False, others=2)
    return departure


def test_one_that_serves_refuses_nobody(departure: Departure) -> None:
    assert departure.leaving() is departure.refusal() is departure.refusal_of_waiters() is None
    assert departure.drained_for_s == departure.notice_left_s() == 0


def test_drained_it_leaves_at_once_and_refuses_when_the_notice_is_over(departure: Departure, clock: Clock) -> None:
    assert departure.note(drained=True, others=2)
    assert isinstance(departure.leaving(), Drained)
    assert departure.refusal() is None
    clock.now_s += 10
    assert isinstance(departure.refusal(), Drained)
    assert departure.refusal_of_waiters() is None, "others' workers may have a slot for them"
    assert departure.drained_for_s == 10


@pytest.mark.parametrize("others_before", [0, 2])
def test_where_nobody_else_serves_it_refuses_at_once_and_those_who_wait_too(
    others_before: int, departure: Departure
) -> None:
    departure.note(drained=True, others=others_before)
    departure.note(drained=True, others=0)
    assert isinstance(departure.refusal(), Drained)
    assert isinstance(departure.refusal_of_waiters(), Drained)


def test_undrained_it_serves_and_a_new_drain_is_given_notice_again(departure: Departure, clock: Clock) -> None:
    departure.note(drained=True, others=2)
    clock.now_s += 60
    assert departure.note(drained=False, others=2)
    assert departure.leaving() is departure.refusal() is None
    departure.note(drained=True, others=2)
    assert departure.notice_left_s() == 10


def test_a_proxy_that_is_restarted_while_drained_gives_no_notice_again(clock: Clock) -> None:
    departure = Departure(10, clock)
    departure.note(drained=True, others=2)
    assert isinstance(departure.refusal(), Drained)


def test_a_shutdown_gives_half_of_the_grace_at_most(departure: Departure, clock: Clock) -> None:
    departure.shut_down(8)
    assert isinstance(departure.leaving(), ShuttingDown)
    assert departure.notice_left_s() == 4
    clock.now_s += 4
    assert isinstance(departure.refusal(), ShuttingDown)
    assert isinstance(departure.refusal_of_waiters(), ShuttingDown)


def test_a_shutdown_after_a_fault_says_so(departure: Departure) -> None:
    departure.shut_down(8, "restarts its proxy")
    assert str(departure.leaving()) == "The appliance restarts its proxy."


def test_a_shutdown_after_a_drain_that_was_noticed_gives_none(departure: Departure, clock: Clock) -> None:
    departure.note(drained=True, others=2)
    clock.now_s += 11
    departure.shut_down(60)
    assert departure.notice_left_s() == 0
    assert not isinstance(departure.leaving(), Drained)


def test_what_is_told_during_a_shutdown_does_not_undo_it(departure: Departure, clock: Clock) -> None:
    departure.note(drained=True, others=2)
    departure.shut_down(8)
    departure.note(drained=False, others=2)
    clock.now_s += 4
    assert isinstance(departure.refusal(), ShuttingDown)
