"""The attack suite uses the appliances and the web site of the system tests."""

from tests.system.conftest import grid, older_playwright, site, start_grid

__all__ = ["grid", "older_playwright", "site", "start_grid"]
