"""A worker's heart: its thread is there before the worker is registered, and beats from then on."""

from __future__ import annotations

import threading

from tests.support.waiting import until
from workers.heart import Heart
from workers.orders import Orders


class Beats:
    """Counts heartbeats, as a registration that Redis always hears."""

    count = 0

    def beat(self, memory_bytes: int, healthy: bool) -> bool:
        """Take one."""
        self.count += 1
        return True


def hearts() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "heart"]


def test_a_heart_has_its_thread_before_it_beats_and_ends_without_having_begun() -> None:
    beats = Beats()
    heart = Heart(beats, Orders("chromium-00"), 0.01, lambda: 0)
    heart.start()
    assert len(hearts()) == 1
    assert not beats.count
    heart.stop()
    until(lambda: not hearts(), "its thread has ended")
    assert not beats.count


def test_a_heart_that_has_begun_beats_until_it_is_stopped() -> None:
    beats = Beats()
    heart = Heart(beats, Orders("chromium-00"), 0.01, lambda: 0)
    heart.start()
    heart.begin()
    until(lambda: beats.count > 2, "it beats")
    heart.stop()
    until(lambda: not hearts(), "its thread has ended")
