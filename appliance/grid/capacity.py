"""The capacity of each pool, counted from its workers.

Counting costs Redis some microseconds for each worker (docs/scaling.md), and every proxy of a large grid may be
asked for it by a scraper: so what was counted in a large one is kept for KEPT_MS, for all proxies.
"""

from __future__ import annotations

import json

from appliance.grid.store import Store
from appliance.grid.values import PoolCapacity, WorkerStatus

KEPT_MS = 2000

Pools = dict[tuple[str, str], PoolCapacity]


def capacity(store: Store) -> list[PoolCapacity]:
    """Give the capacity of each pool, by browser and version.

    In a grid that is counted in several slices, about as many workers as it has, KEPT_MS ago at most.
    """
    pools = _kept(store) or _count(store)
    for browser, minor in _waiting(store):
        pools.setdefault((browser, minor), PoolCapacity(browser, minor)).waiting += 1
    return [pools[name] for name in sorted(pools)]


def _kept(store: Store) -> Pools:
    (text,) = store.read(("GET", store.key("capacity")))
    return {(pool["browser"], pool["version"]): PoolCapacity(**pool) for pool in json.loads(text or "[]")}


def _count(store: Store) -> Pools:
    pools: Pools = {}
    cursor, slices = "0", 0
    while cursor != "0" or not slices:
        answer = store.call("count_workers", cursor=cursor)
        cursor, slices = answer["cursor"], slices + 1
        for browser, versions in answer["pools"].items():
            for minor, counts in versions.items():
                _add(pools.setdefault((browser, minor), PoolCapacity(browser, minor)), counts)
    if slices > 1:
        text = json.dumps([pool.as_dict() for pool in pools.values()])
        store.read(("SET", store.key("capacity"), text, "PX", KEPT_MS))
    return pools


def _add(pool: PoolCapacity, counts: dict[str, int]) -> None:
    for status in WorkerStatus:
        pool.workers[status] += counts[status]
    pool.slots += counts["slots"]
    pool.active += counts["active"]
    pool.free += counts["free"]


def _waiting(store: Store) -> list[tuple[str, str]]:
    """Give what each waiting session waits for: browser and version, "any" if that is all the same to it."""
    (ids,) = store.read(("ZRANGE", store.key("deadlines"), 0, -1))
    requests = store.read(*[("HGET", store.key("session", i), "request") for i in ids]) if ids else []
    wanted = (json.loads(request) for request in requests if request)
    return [(request["browser"], request["minor"] or "any") for request in wanted]
