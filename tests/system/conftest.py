"""The fixtures of the system tests."""

from tests.support.fixtures import (
    added_driver,
    drivers_dir,
    grid,
    node_modules,
    older_playwright,
    site,
    standing_grid,
    start_grid,
)

__all__ = [
    "added_driver",
    "drivers_dir",
    "grid",
    "node_modules",
    "older_playwright",
    "site",
    "standing_grid",
    "start_grid",
]
