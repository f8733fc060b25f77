"""Views of the grid's state: what is read, and nothing changed."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from appliance.grid import token_table
from appliance.grid.clock import grid_time_ms
from appliance.grid.records import ApplianceInfo, ApplianceStatus, PoolCapacity, SessionInfo, WorkerFailure, WorkerInfo
from appliance.grid.store import Store
from appliance.grid.token_table import Token
from appliance.grid.values import Door, WorkerEnd
from appliance.names import Browser, appliance_of_proxy

KEPT_MS = 2000
OLDER_SCHEMAS = ("4", "3", "2")  # whose releases kept the tokens under their own prefix, as in lua/tokens.lua

Counts = dict[str, Any]  # by name: a number, or further counts


class Views:
    """The readable part of `Grid`. Every method raises StoreUnavailable if Redis is away."""

    def __init__(self, store: Store) -> None:
        """Set the store to read."""
        self.store = store

    # ── Time ──────────────────────────────────────────────────────────────────────────────────────

    def now_ms(self) -> int:
        """Return the grid's time, which all times here are of: Redis', without its steps and without silences."""
        return grid_time_ms(*self.store.read(("TIME",), ("GET", self.store.key("clock"))))

    def due_in_s(self) -> float:
        """Return the seconds until the first worker or lease is overdue if nobody renews it; inf if there is none.

        Sessions that wait do not count: each sees to its own deadline, and in a crowd some deadline is always near.
        """
        kinds = ("workers", "leases")
        first = [("ZRANGE", self.store.key(kind), 0, 0, "WITHSCORES") for kind in kinds]
        *found, time, clock = self.store.read(*first, ("TIME",), ("GET", self.store.key("clock")))
        dues_ms = [float(scores[1]) for scores in found if scores]
        return max(0.0, min(dues_ms) - grid_time_ms(time, clock)) / 1000 if dues_ms else math.inf

    # ── Workers and sessions ──────────────────────────────────────────────────────────────────────

    def workers(self) -> list[WorkerInfo]:
        """Return all registered workers, sorted by appliance and name."""
        (ids,) = self.store.read(("ZRANGE", self.store.key("workers"), 0, -1))
        return sorted(self._workers(ids), key=lambda w: (w.appliance, w.name, w.id))

    def worker(self, worker_id: str) -> WorkerInfo | None:
        """Return a worker; None if it is not registered."""
        (is_known,) = self.store.read(("ZSCORE", self.store.key("workers"), worker_id))
        return next(iter(self._workers([worker_id])), None) if is_known is not None else None

    def workers_of(self, appliance: str, most: int) -> list[WorkerInfo]:
        """Return up to `most` workers of an appliance, only those with a recent heartbeat, sorted by name."""
        return sorted(self._workers(self.workers_on(appliance, most)), key=lambda w: (w.name, w.id))

    def _workers(self, ids: Sequence[str]) -> list[WorkerInfo]:
        """Return those of these workers that have a record."""
        records = self.store.read_hashes([self.store.key("worker", one) for one in ids])
        counts = [("SCARD", self.store.key("worker", one, "sessions")) for one in ids]
        *active, time, clock = self.store.read(*counts, ("TIME",), ("GET", self.store.key("clock")))
        now_ms = grid_time_ms(time, clock)
        found = zip(records, active, strict=True)
        return [WorkerInfo.parse(fields, count, now_ms) for fields, count in found if fields]

    def worker_ends(self, appliance: str) -> dict[WorkerEnd, int]:
        """Return how many workers of an appliance drained, crashed or did not start, since Redis has counted them."""
        (found,) = self.store.read(("HGETALL", self.store.key("tally", appliance)))
        return {WorkerEnd(*name.split(" ")): int(count) for name, count in found.items()}

    def workers_on(self, appliance: str, most: int) -> list[str]:
        """Return the ids of up to `most` workers of an appliance, only those with a recent heartbeat."""
        return list(self.store.call("workers_on", appliance=appliance, most=most)["workers"])

    def sessions(self) -> list[SessionInfo]:
        """Return all sessions, active and waiting, the oldest first."""
        leases, waiting = self.store.read(
            ("ZRANGE", self.store.key("leases"), 0, -1), ("ZRANGE", self.store.key("deadlines"), 0, -1)
        )
        ids = [*leases, *waiting]
        answers = self.store.read(*[("HGETALL", self.store.key("session", i)) for i in ids]) if ids else []
        return sorted((SessionInfo.parse(fields) for fields in answers if fields), key=lambda s: s.started_ms)

    def failures(self, browser: Browser) -> list[WorkerFailure]:
        """Return why workers of a browser do not serve, sorted by appliance and name."""
        (found,) = self.store.read(("HGETALL", self.store.key("failures")))
        now_ms = self.now_ms() if found else 0
        failures = [json.loads(text) for _, text in sorted(found.items())]
        return [
            WorkerFailure(one["appliance"], one["name"], one["reason"])
            for one in failures
            if one["browser"] == browser and one["until_ms"] >= now_ms
        ]

    def events(self, count: int = 100) -> list[dict[str, str]]:
        """Return the newest events, the oldest of them first; `id` begins with the server's milliseconds."""
        entries = self.store.read(("XREVRANGE", self.store.key("events"), "+", "-", "COUNT", count))[0]
        return [{"id": entry_id, **fields} for entry_id, fields in reversed(entries)]

    def events_after(self, last_id: str, count: int = 1000) -> list[dict[str, str]]:
        """Return up to `count` events that came after one, the oldest first; all there are if its id is ""."""
        start = f"({last_id}" if last_id else "-"
        entries = self.store.read(("XRANGE", self.store.key("events"), start, "+", "COUNT", count))[0]
        return [{"id": entry_id, **fields} for entry_id, fields in entries]

    def is_ready(self, browser: Browser, avoid: Iterable[str] = ()) -> bool:
        """Return whether a worker of a browser is available, free or not, on an appliance that is not avoided."""
        return bool(self.store.call("is_ready", browser=browser, avoid=" ".join(sorted(avoid)))["ready"])

    # ── Pools and appliances ──────────────────────────────────────────────────────────────────────

    def capacity(self) -> list[PoolCapacity]:
        """Return the capacity of each pool: one per browser and Playwright version. Of a large grid, as of 2 s ago.

        The waiting sessions that named no version are a pool of their own, "any".
        """
        pools = {
            (browser, minor): PoolCapacity.counted(browser, minor, counts)
            for browser, versions in self.count_workers().items()
            for minor, counts in versions.items()
        }
        for browser, minor in self._wanted():
            pools.setdefault((browser, minor), PoolCapacity(browser, minor)).waiting += 1
        return [pools[name] for name in sorted(pools)]

    def queue_lengths(self, pools: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return how many sessions wait for each of these pools, browser and version; not those that avoid workers."""
        answers = self.store.read(*[("ZCARD", self.store.key("queue", *pool)) for pool in pools]) if pools else []
        return {pool: int(length) for pool, length in zip(pools, answers, strict=True)}

    def lacking_drivers(self, minors: Sequence[str]) -> dict[str, str]:
        """Return why no appliance can get the driver of a version, for those of `minors` that none can get."""
        if not minors:
            return {}
        reasons = [("GET", self.store.key("lacking", minor)) for minor in minors]
        answers = self.store.read(*reasons, *[("EXISTS", self.store.key("providers", minor)) for minor in minors])
        found = zip(minors, answers[: len(minors)], answers[len(minors) :], strict=True)
        return {minor: reason for minor, reason, is_provided in found if reason and not is_provided}

    def oldest_wait_s(self) -> float:
        """Return how long the session has waited that has waited longest; 0 if none waits."""
        (ids,) = self.store.read(("ZRANGE", self.store.key("deadlines"), 0, -1))
        started = self.store.read(*[("HGET", self.store.key("session", i), "started") for i in ids]) if ids else []
        times_ms = [int(one) for one in started if one]
        return max(0, self.now_ms() - min(times_ms)) / 1000 if times_ms else 0.0

    def _wanted(self) -> list[tuple[str, str]]:
        """Return what each waiting session waits for: browser and pool, "any" if it named no version."""
        (ids,) = self.store.read(("ZRANGE", self.store.key("deadlines"), 0, -1))
        keys = [self.store.key("session", session) for session in ids]
        found = self.store.read(*[("HMGET", key, "request", "pool") for key in keys]) if ids else []
        wanted = ((json.loads(request), pool) for request, pool in found if request)
        return [(one["browser"], (pool or one["minor"] if one["minor"] else "") or "any") for one, pool in wanted]

    def appliances(self) -> list[ApplianceInfo]:
        """Return all appliances that Redis knows, sorted by name."""
        (names,) = self.store.read(("ZRANGE", self.store.key("appliances"), 0, -1))
        census = self.count_appliances()
        return self._appliances(sorted({*names, *census}), census)

    def appliance(self, name: str) -> ApplianceInfo | None:
        """Return one appliance; None if it is unknown."""
        return next(iter(self._appliances([name], self.count_appliances())), None)

    def _appliances(self, names: list[str], census: Counts) -> list[ApplianceInfo]:
        """Return the appliances that have a record, which is read last: one that Redis has just lost is left out."""
        drained, stopping, proxies, *records = self.store.read(
            ("ZRANGE", self.store.key("drained"), 0, -1),
            ("ZRANGE", self.store.key("stopping"), 0, -1),
            ("ZRANGE", self.store.key("proxies"), 0, -1, "WITHSCORES"),
            *[("HGETALL", self.store.key("appliance", name)) for name in names],
        )
        now_ms = self.now_ms()
        until_ms = zip(proxies[::2], proxies[1::2], strict=True)
        alive = Counter(appliance_of_proxy(proxy) for proxy, score in until_ms if float(score) >= now_ms)
        there = {*alive, *census}
        found = []
        for name, fields in zip(names, records, strict=True):
            if not fields:
                continue
            one = ApplianceInfo.parse(name, fields, census.get(name))
            one.proxies = alive[name]
            one.needed_by = len(there - {name}) if fields.get("serves_redis") == "1" else 0
            if name in drained:
                one.set_drain_status(fields, now_ms)
            elif name in stopping:
                one.status = ApplianceStatus.STOPPING
            found.append(one)
        return found

    def rival_of(self, appliance: str, run: str) -> str:
        """Return where another run of this appliance's name is, whose proxy lives; "" if there is none."""
        return str(self.store.call("rival_of", appliance=appliance, run=run)["rival"])

    def door(self, name: str) -> Door | None:
        """Return where an appliance's inner door is, as it announced it; None if it is unknown."""
        (fields,) = self.store.read(("HMGET", self.store.key("appliance", name), "address", "port", "certificate"))
        address, port, certificate = fields
        return Door(address, int(port), certificate or "") if address and port else None

    def count_workers(self) -> Counts:
        """Return by browser and Playwright minor: standby, available, draining, slots, active, free."""
        return self._counted("count_workers", "capacity")

    def count_appliances(self) -> Counts:
        """Return by appliance: standby, available, draining, sessions, versions.

        A drained appliance is given no sessions, so an old count of them is never too small.
        """
        return self._counted("count_appliances", "census")

    def _counted(self, function: str, kept_as: str) -> Counts:
        """Return what a function counts slice by slice. In a large grid it is kept for KEPT_MS, for all proxies.

        Each worker costs Redis some microseconds (docs/scaling.md), and every proxy may be asked by a scraper.
        """
        (kept,) = self.store.read(("GET", self.store.key(kept_as)))
        counts: Counts = json.loads(kept or "{}")
        if kept:
            return counts
        slices = [answer["counts"] for answer in self.store.call_in_slices(function)]
        for part in slices:
            _add(counts, part)
        if len(slices) > 1:
            self.store.read(("SET", self.store.key(kept_as), json.dumps(counts), "PX", KEPT_MS))
        return counts

    # ── Tokens ────────────────────────────────────────────────────────────────────────────────────

    def tokens(self) -> dict[str, Token]:
        """Return the tokens that Redis knows, by their digests; revoked ones and those of older releases too."""
        names = (("tokens",), *((schema, "tokens") for schema in OLDER_SCHEMAS))
        tables = self.store.read(*[("HGETALL", self.store.shared_key(*name)) for name in names])
        known = (token_table.parse({digest: json.loads(text) for digest, text in table.items()}) for table in tables)
        return functools.reduce(token_table.joined, known)

    def tokens_used_ms(self) -> dict[str, int]:
        """Return when tokens were last used, by their digests; one unused since Redis started is not there."""
        (found,) = self.store.read(("HGETALL", self.store.shared_key("tokens", "used")))
        return {digest: int(used_ms) for digest, used_ms in found.items()}


def _add(total: Counts, counts: Counts) -> None:
    for name, count in counts.items():
        if isinstance(count, dict):
            _add(total.setdefault(name, {}), count)
        else:
            total[name] = total.get(name, 0) + count
