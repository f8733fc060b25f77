"""What Redis answers, as values: the grid's time, a worker, a session."""

from __future__ import annotations

import json

from appliance.grid.values import SessionState, WorkerState, WorkerStatus


def grid_time_ms(time: tuple[int, int], clock: str | None) -> int:
    """Give the grid's time as the Lua library does (`tell_time` in clock.lua)."""
    wall = int(time[0]) * 1000 + int(time[1]) // 1000
    seen, grid, longest = map(int, clock.split()) if clock else (wall, wall, 0)
    return grid + max(0, min(wall - seen, longest))


def worker_state(fields: dict[str, str], active: int, now_ms: int) -> WorkerState:
    """Read a worker from its hash; `active` counts the sessions that it has."""
    return WorkerState(
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


def session_state(fields: dict[str, str]) -> SessionState:
    """Read a session from its hash."""
    request = json.loads(fields["request"])
    return SessionState(
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
