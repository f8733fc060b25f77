"""Times that Redis tells, in Unix milliseconds."""

from __future__ import annotations


def wall_ms(time: tuple[int, int]) -> int:
    """Return the server's time, from its answer to TIME."""
    return int(time[0]) * 1000 + int(time[1]) // 1000


def grid_time_ms(time: tuple[int, int], clock: str | None) -> int:
    """Return the grid's time as the Lua library does (`tell_time` in clock.lua)."""
    wall = wall_ms(time)
    seen, grid, longest = map(int, clock.split()) if clock else (wall, wall, 0)
    return grid + max(0, min(wall - seen, longest))
