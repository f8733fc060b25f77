"""Who looks at sessions' browsers: each viewer has a connection to a driver, which the audit must know.

One sorted set holds them all, each until a time that its proxy moves on. What a dead proxy leaves in it is soon over.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from appliance.grid.grid import Grid

_SEPARATOR = "/"  # no worker's id has one


def new_viewer(worker_id: str) -> str:
    """Return a name for a viewer of a worker's session."""
    return f"{worker_id}{_SEPARATOR}{secrets.token_hex(4)}"


def note(grid: Grid, viewers: Iterable[str], for_ms: int) -> None:
    """Note viewers, or that they are still there; raises StoreUnavailable."""
    if named := list(viewers):
        until_ms, key = grid.now_ms() + for_ms, grid.store.key("viewers")
        grid.store.read(*[("ZADD", key, until_ms, viewer) for viewer in named])


def forget(grid: Grid, viewer: str) -> None:
    """Remove a viewer, and all viewers whose note has expired; raises StoreUnavailable."""
    key = grid.store.key("viewers")
    grid.store.read(("ZREM", key, viewer), ("ZREMRANGEBYSCORE", key, "-inf", grid.now_ms()))


def by_worker(members: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the viewers among the members of the set, by the worker that each looks at."""
    found: dict[str, set[str]] = {}
    for member in members:
        found.setdefault(member.partition(_SEPARATOR)[0], set()).add(member)
    return {worker: frozenset(viewers) for worker, viewers in found.items()}
