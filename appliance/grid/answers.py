"""What Redis answers, as values: the grid's time, a worker, a session."""

from __future__ import annotations

import json
from typing import Any

from appliance.grid.values import ApplianceInfo, ApplianceStatus, SessionInfo, WorkerInfo, WorkerStatus


def grid_time_ms(time: tuple[int, int], clock: str | None) -> int:
    """Give the grid's time as the Lua library does (`tell_time` in clock.lua)."""
    wall = int(time[0]) * 1000 + int(time[1]) // 1000
    seen, grid, longest = map(int, clock.split()) if clock else (wall, wall, 0)
    return grid + max(0, min(wall - seen, longest))


def worker_info(fields: dict[str, str], active: int, now_ms: int) -> WorkerInfo:
    """Read a worker from its hash; `active` counts the sessions that it has."""
    return WorkerInfo(
        id=fields["id"],
        browser=fields["browser"],
        version=fields["version"],
        appliance=fields["appliance"],
        slot=fields["slot"],
        status=fields["status"],
        active=active,
        lifetime=int(fields["lifetime"]),
        concurrency=int(fields["concurrency"]),
        quota=int(fields["quota"]),
        started_ms=int(float(fields["started"])),
        heartbeat_ms=int(float(fields["heartbeat"])),
        pid=int(fields["pid"]),
        memory_bytes=int(fields["memory"]),
        suspect="suspect" in fields,
        stale=now_ms - float(fields["heartbeat"]) > float(fields["ttl"]),
        reason=fields.get("reason", "") if fields["status"] == WorkerStatus.DRAINING else "",
    )


def session_info(fields: dict[str, str]) -> SessionInfo:
    """Read a session from its hash."""
    request = json.loads(fields["request"])
    return SessionInfo(
        id=request["id"],
        state=fields["state"],
        browser=request["browser"],
        minor=request["minor"],
        worker=fields["worker"],
        proxy=fields["proxy"],
        client=request["client"],
        user_agent=request["user_agent"],
        name=request["name"],
        started_ms=int(fields["started"]),
        token=request.get("token", ""),  # a proxy of an earlier version may have written it
    )


def appliance_info(name: str, fields: dict[str, str], counts: dict[str, Any] | None) -> ApplianceInfo:
    """Describe an appliance by what its proxy said an announcement ago, and by what was counted on its workers."""
    state = ApplianceInfo(
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


def drain_status(state: ApplianceInfo, fields: dict[str, str], now_ms: int) -> ApplianceStatus:
    """Say whether a drain is over. If Redis has just lost everything, it is not known yet who has sessions.

    A proxy that lives must have said, since the drain began, that it has none and admits none any more (DRAIN_NOTICE).
    """
    if "heard" not in fields or now_ms - state.since_ms < int(fields["settle_ms"]):
        return ApplianceStatus.DRAINING
    may_have_more = fields["heard"] != fields.get("turn") or fields.get("admits") == "1"
    in_proxy = state.proxies and (state.in_proxy or may_have_more)
    return ApplianceStatus.DRAINING if state.on_workers or in_proxy else ApplianceStatus.DRAINED
