"""One difference between what Redis says and what is true."""

from __future__ import annotations

from dataclasses import dataclass

AT_ONCE_S = 1.0  # for what changes in one step in Redis, between the reads of one look
STOPPING_S = 8.0  # for a worker's end: its driver is asked twice, then all its processes are killed


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs, in words, and what to do about it.

    `key` identifies the difference in every look. For less than `settle_s` seconds it is normal: a session or a worker
    begins or ends.
    """

    key: tuple[str, ...]
    text: str
    remedy: str
    settle_s: float = AT_ONCE_S
