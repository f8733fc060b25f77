"""Deadlines, and waiting for a condition."""

from __future__ import annotations

from appliance.deadline import Deadline, wait_until


def test_a_deadline_counts_down_to_zero_and_stays_over() -> None:
    now_s = 100.0
    deadline = Deadline(10, lambda: now_s)
    now_s += 4
    assert (deadline.left_s, deadline.is_over) == (6, False)
    now_s += 6
    assert (deadline.left_s, deadline.is_over) == (0, True)
    now_s += 6
    assert (deadline.left_s, deadline.is_over) == (0, True)


def test_what_is_waited_for_is_looked_at_until_it_is_true_or_the_time_is_over() -> None:
    looks = iter([False, False, True])
    assert wait_until(lambda: next(looks), timeout_s=60, interval_s=0)
    assert wait_until(lambda: True, timeout_s=0, interval_s=60)
    assert not wait_until(lambda: False, timeout_s=0, interval_s=60)
