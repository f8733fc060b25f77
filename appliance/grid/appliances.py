"""The grid's appliances: what each announces of itself, and whether it is drained.

Every method raises StoreUnavailable if Redis is away.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from appliance.grid.capacity import KEPT_MS
from appliance.grid.grid import Registry
from appliance.grid.values import Announcement, ApplianceState, ApplianceStatus, Door, Standing, WorkerStatus
from appliance.names import minor_version

Census = dict[str, dict[str, Any]]  # by appliance: standby, available, draining, sessions, versions


class Appliances:
    """All appliances of one grid."""

    def __init__(self, registry: Registry) -> None:
        """Take the registry of the grid."""
        self._registry = registry
        self._store = registry.store

    def announce(self, announcement: Announcement) -> Standing:
        """Say what an appliance is, and learn whether it is drained."""
        fields = asdict(announcement)
        fields["pools"] = {browser.value: workers for browser, workers in announcement.pools.items()}
        answer = self._store.call("announce", minor=minor_version(announcement.version), **fields)
        return Standing(bool(answer["drained"]), int(answer["others"]), str(answer["rival"]), int(answer["turn"]))

    def leave(self, proxy: str) -> None:
        """Say that a proxy has ended: from now on it counts as gone, as if its lease were over."""
        self._registry.renew(proxy, {}, lease_ms=-1)

    def drain_appliance(self, appliance: str, reason: str) -> bool:
        """Give an appliance no new sessions, until it is undrained or started anew. False if it is unknown.

        If it is drained already, the reason is replaced.
        """
        return bool(self._store.call("drain_appliance", appliance=appliance, reason=reason)["known"])

    def undrain_appliance(self, appliance: str, reason: str = "") -> bool:
        """Let a drained appliance serve again; with a reason, only if drained for that. False if it is unknown."""
        return bool(self._store.call("undrain_appliance", appliance=appliance, reason=reason)["known"])

    def rival(self, name: str, run: str) -> str:
        """Give where another appliance is that has the name of this one, which is the given run of it; "" if none."""
        return str(self._store.call("rival_of", appliance=name, run=run)["rival"])

    def door(self, name: str) -> Door | None:
        """Return where an appliance's inner door is, as it announced it; None if it is unknown."""
        (fields,) = self._store.read(("HMGET", self._store.key("appliance", name), "address", "port", "certificate"))
        address, port, certificate = fields
        return Door(address, int(port), certificate or "") if address and port else None

    def states(self) -> list[ApplianceState]:
        """Give all appliances that Redis knows, in the order of their names."""
        (names,) = self._store.read(("ZRANGE", self._store.key("appliances"), 0, -1))
        census = self._census()
        return self._look(sorted({*names, *census}), census)

    def state(self, name: str) -> ApplianceState | None:
        """Give one appliance; None if it is unknown."""
        return next(iter(self._look([name], self._census())), None)

    def _look(self, names: list[str], census: Census) -> list[ApplianceState]:
        """Give those that have a record. Their records are read last: what Redis has lost meanwhile is not believed."""
        drained, stopping, proxies, *records = self._store.read(
            ("ZRANGE", self._store.key("drained"), 0, -1),
            ("ZRANGE", self._store.key("stopping"), 0, -1),
            ("ZRANGE", self._store.key("proxies"), 0, -1, "WITHSCORES"),
            *[("HGETALL", self._store.key("appliance", name)) for name in names],
        )
        now_ms = self._registry.now_ms()
        alive = Counter(_owner(proxy) for proxy, until_ms in _scores(proxies).items() if until_ms >= now_ms)
        there = {*alive, *census}
        states = []
        for name, fields in zip(names, records, strict=True):
            if not fields:
                continue
            state = _described(name, fields, census.get(name))
            state.proxies = alive[name]
            state.needed_by = len(there - {name}) if fields.get("serves_redis") == "1" else 0
            if name in drained:
                state.status = _drain_status(state, fields, now_ms)
            elif name in stopping:
                state.status = ApplianceStatus.STOPPING
            states.append(state)
        return states

    def _census(self) -> Census:
        (kept,) = self._store.read(("GET", self._store.key("census")))
        return json.loads(kept) if kept else self._take_census()

    def _take_census(self) -> Census:
        """Count in slices, between which Redis serves others; of a large grid it is kept for a while, for all proxies.

        A drained appliance is given no sessions, so that an old count of them is never too small.
        """
        census: Census = {}
        cursor, slices = "0", 0
        while cursor != "0" or not slices:
            answer = self._store.call("count_appliances", cursor=cursor)
            cursor, slices = answer["cursor"], slices + 1
            for name, counts in answer["appliances"].items():
                known = census.setdefault(name, {})
                for what, count in counts.items():
                    known[what] = {**known.get(what, {}), **count} if what == "versions" else known.get(what, 0) + count
        if slices > 1:
            self._store.read(("SET", self._store.key("census"), json.dumps(census), "PX", KEPT_MS))
        return census


def _described(name: str, fields: dict[str, str], counts: dict[str, Any] | None) -> ApplianceState:
    """Describe an appliance by what its proxy said an announcement ago, and by what was counted on its workers."""
    state = ApplianceState(
        name,
        endpoint=fields.get("endpoint", ""),
        address=fields.get("address", ""),
        in_proxy=int(fields.get("relayed", 0)),
        rival=fields.get("rival", ""),
        since_ms=int(fields.get("since", 0)),
        drain_reason=fields.get("drain_reason", ""),
    )
    versions = {fields["version"]} if "version" in fields else set()
    if counts:
        state.workers = {status.value: counts[status] for status in WorkerStatus}
        state.on_workers = counts["sessions"]
        versions |= counts["versions"].keys()
    state.versions = sorted(versions)
    return state


def _drain_status(state: ApplianceState, fields: dict[str, str], now_ms: int) -> ApplianceStatus:
    """Say whether a drain is over. If Redis has just lost everything, it is not known yet who has sessions.

    A proxy that lives must have said, since the drain began, that it has none and admits none any more (DRAIN_NOTICE).
    """
    if "heard" not in fields or now_ms - state.since_ms < int(fields["settle_ms"]):
        return ApplianceStatus.DRAINING
    may_have_more = fields["heard"] != fields.get("turn") or fields.get("admits") == "1"
    in_proxy = state.proxies and (state.in_proxy or may_have_more)
    return ApplianceStatus.DRAINING if state.on_workers or in_proxy else ApplianceStatus.DRAINED


def _owner(proxy: str) -> str:
    """Give the appliance of a proxy, whose id is "<appliance>.<6 hex digits>" (proxy/proxy.py)."""
    return proxy.rpartition(".")[0]


def _scores(flat: list[Any]) -> dict[str, float]:
    return {member: float(score) for member, score in zip(flat[::2], flat[1::2], strict=True)}
