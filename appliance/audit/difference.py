"""One difference between what Redis says and what is true."""

from __future__ import annotations

from dataclasses import dataclass

AT_ONCE_S = 1.0  # what changes in one step in Redis; a second look must only not be torn by the same step
STOPPING_S = 8.0  # a worker's end: its driver is asked twice, then all its processes are killed


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs, in words, and what to do about it.

    `key` names the same difference in every look. One that has been there for less than `settle_s`
    seconds is normal: a session or a worker begins or ends.
    """

    key: tuple[str, ...]
    text: str
    remedy: str
    settle_s: float = AT_ONCE_S
