"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


WITHIN_S = 30.0  # by far: a browser that starts on a busy machine takes several seconds


def until(condition: Callable[[], T], what: str, within_s: float = WITHIN_S, every_s: float = 0.02) -> T:
    """Wait until a condition holds and return its value; fail with `what` after the deadline.

    Name a deadline where how soon it holds is what the test shows.
    """
    deadline = time.monotonic() + within_s
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(every_s)
