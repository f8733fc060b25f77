"""The attack suite uses the appliances and the web site of the system tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Playwright, sync_playwright

from appliance.names import Isolation
from tests.support.appliance import Appliance
from tests.support.fixtures import grid, older_playwright, site, standing_grid, start_grid

__all__ = ["grid", "older_playwright", "site", "standing_grid", "start_grid"]


@pytest.fixture(scope="module", params=[*Isolation])
def level(request: pytest.FixtureRequest) -> str:
    """Return what follows the endpoint for an attacker's session, which has a shared browser or one of its own."""
    return f"/?isolation={request.param}"


@pytest.fixture(scope="module")
def clients() -> Iterator[Playwright]:
    """Provide a module one Playwright for all of its clients: each start of one takes a second."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def neighbour(grid: Appliance, clients: Playwright) -> Page:
    """Provide a page of another session of the worker that is attacked."""
    return clients.chromium.connect(grid.endpoint).new_page()
