"""The fixtures of the system tests."""

from tests.support.fixtures import grid, older_playwright, site, start_grid

__all__ = ["grid", "older_playwright", "site", "start_grid"]
