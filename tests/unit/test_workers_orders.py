"""What a worker is told, and how its waiting ends."""

import threading

import pytest

from appliance.grid.values import CrashCause, DrainCause
from workers.orders import Crashed, Orders, Stopped


def test_the_first_reason_to_drain_stays() -> None:
    orders = Orders("chromium-00")
    orders.drain("quota reached", DrainCause.QUOTA)
    orders.drain("told by the grid", DrainCause.OPERATOR)
    assert (orders.drain_reason, orders.drain_cause) == ("quota reached", DrainCause.QUOTA)


def test_a_wait_ends_when_its_condition_holds_and_tells_if_it_never_does() -> None:
    orders = Orders("chromium-00")
    threading.Timer(0.05, orders.drained).start()
    assert orders.wait(lambda: orders.is_drained, timeout_s=10)
    assert not orders.wait(lambda: orders.drain_reason, timeout_s=0.01)


def test_a_crash_ends_every_wait_and_what_follows_from_it_is_not_noted() -> None:
    orders = Orders("chromium-00")
    threading.Timer(0.05, orders.crashed, args=("browser of worker x crashed", CrashCause.BROWSER)).start()
    with pytest.raises(Crashed, match="browser of worker x crashed"):
        orders.wait(lambda: False, timeout_s=10)
    orders.crashed("driver of worker x crashed", CrashCause.DRIVER)
    with pytest.raises(Crashed, match="browser of worker x crashed") as crash:
        orders.pause(0)
    assert crash.value.crash is CrashCause.BROWSER


def test_a_termination_ends_a_pause() -> None:
    orders = Orders("chromium-00")
    orders.pause(0)
    threading.Timer(0.05, orders.terminate).start()
    with pytest.raises(Stopped):
        orders.pause(10)


def test_a_thread_that_fails_takes_the_worker_down_with_its_reason() -> None:
    orders = Orders("chromium-00")

    def fail() -> None:
        raise KeyError("guid")

    orders.start_thread("watch for hanging", fail)
    with pytest.raises(Crashed, match=r"worker chromium-00 failed \(watch for hanging\): KeyError: 'guid'"):
        orders.wait(lambda: False, timeout_s=10)


def test_a_thread_that_comes_to_its_end_is_no_fault() -> None:
    orders = Orders("chromium-00")
    orders.start_thread("driver's output", orders.drained)
    assert orders.wait(lambda: orders.is_drained, timeout_s=10)
    orders.pause(0.05)
