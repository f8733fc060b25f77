"""The fixtures of the system tests."""

from tests.support.fixtures import grid, node_modules, older_playwright, site, start_grid

__all__ = ["grid", "node_modules", "older_playwright", "site", "start_grid"]
