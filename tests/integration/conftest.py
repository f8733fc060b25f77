"""What integration tests share: a grid of two appliances, or one appliance with a pool on demand."""

from __future__ import annotations

import pytest

from appliance.grid.grid import Grid
from tests.support.announced import announcement, register
from tests.support.played_pools import pool_settings, registered, supervisord

__all__ = ["pool_settings", "registered", "supervisord"]


@pytest.fixture
def pair(grid: Grid) -> Grid:
    """Two appliances: `here` has a worker that serves and a spare, `there` one that serves."""
    for name in ("here", "there"):
        grid.announce(announcement(name))
        grid.renew(f"{name}.abcdef", {}, 60_000)
    for worker, appliance in {"A": "here", "B": "here", "C": "there"}.items():
        register(grid, worker, appliance)
    return grid
