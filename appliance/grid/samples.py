"""The last hour in numbers: one sample every 10 seconds, in a stream that all appliances share.

It outlives the proxies. Whichever proxy comes first takes a sample; the others find that it is taken.
"""

from __future__ import annotations

from appliance.grid.grid import Grid
from appliance.grid.story import EndedBy, Story

SAMPLE_MS = 10_000
KEPT = 360  # an hour
WORKERS_MOST, ENDS_MOST = 2000, 5000

Sample = dict[str, float | None]  # by name; None where there is nothing to measure
_FAULTS = {EndedBy.WORKER, EndedBy.DRIVER, EndedBy.BROWSER, EndedBy.APPLIANCE, EndedBy.GRID}


class Samples:
    """The samples of a grid, taken and read by one proxy."""

    def __init__(self, grid: Grid) -> None:
        """Set the grid."""
        self._grid = grid

    def take(self) -> None:
        """Take a sample, unless another proxy has taken one less than SAMPLE_MS ago; raises StoreUnavailable."""
        store = self._grid.store
        mine, *_ = store.read(("SET", store.key("sampled"), "1", "NX", "PX", SAMPLE_MS - 200))
        if not mine:
            return
        sample = self._measure()
        flat = [text for name, value in sample.items() if value is not None for text in (name, value)]
        store.read(("XADD", store.key("samples"), "MAXLEN", KEPT, "*", *flat))

    def read(self, after: str = "-") -> tuple[str, list[Sample]]:
        """Return the samples after an entry, the oldest first, and the id of the last one; raises StoreUnavailable."""
        store = self._grid.store
        start = after if after == "-" else f"({after}"
        found = store.read(("XRANGE", store.key("samples"), start, "+", "COUNT", KEPT))[0]
        return (found[-1][0] if found else after), [_parsed(fields) for _, fields in found]

    def _measure(self) -> Sample:
        store = self._grid.store
        pools, now_ms = self._grid.capacity(), self._grid.now_ms()
        last, workers = store.read(
            ("XREVRANGE", store.key("samples"), "+", "-", "COUNT", 1),
            ("ZRANGE", store.key("workers"), 0, WORKERS_MOST - 1),
        )
        memory = store.read(*[("HGET", store.key("worker", one), "memory") for one in workers]) if workers else []
        before = dict(last[0][1]) if last else {}
        since_ms = float(before.get("at_ms", now_ms - SAMPLE_MS))
        ends = self._ends(since_ms)
        waits = [one.waited_ms for one in ends if one.granted_ms and one.waited_ms is not None]
        per_minute = 60_000 / max(1.0, now_ms - since_ms)
        return {
            "at_ms": now_ms,
            "slots": sum(pool.slots for pool in pools),
            "active": sum(pool.active for pool in pools),
            "waiting": sum(pool.waiting for pool in pools),
            "memory_bytes": sum(int(one or 0) for one in memory),
            "ended_per_minute": round(len(ends) * per_minute, 1),
            "failed_per_minute": round(sum(one.ended_by in _FAULTS for one in ends) * per_minute, 1),
            "wait_mean_ms": round(sum(waits) / len(waits), 1) if waits else None,
            "wait_max_ms": max(waits, default=None),
        }

    def _ends(self, since_ms: float) -> list[Story]:
        """Return the sessions that have ended since a time."""
        return self._grid.ended_after(int(since_ms), ENDS_MOST)


def _parsed(fields: dict[str, str]) -> Sample:
    sample: Sample = {"wait_mean_ms": None, "wait_max_ms": None}
    return sample | {name: float(value) for name, value in fields.items()}
