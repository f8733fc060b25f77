"""No message of one session ends the driver, and with it the sessions of its neighbours."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Playwright

from tests.support.appliance import Appliance, StartGrid
from tests.support.raw_client import RawClient
from tests.support.waiting import until


@pytest.mark.parametrize(
    "message",
    [
        None,
        5,
        "text",
        [],
        {},
        {"id": 7},
        {"id": 7, "guid": "", "method": "__abort__"},
        {"id": 7, "guid": "", "method": "__abort__", "params": None, "metadata": None},
        {"id": 7, "guid": "", "method": "__waitInfo__", "params": {"info": None}},
        {"id": 7, "guid": "", "method": 5},
        {"id": 7, "guid": "", "method": "initialize", "params": 5},
        {"id": {"a": 1}, "guid": "", "method": "initialize", "params": {}, "metadata": {}},
    ],
    ids=str,
)
def test_a_message_that_is_none_ends_nobody(grid: Appliance, level: str, neighbour: Page, message: Any) -> None:
    with RawClient(grid, level) as client:
        client.post(message)
        assert client.context()
    assert neighbour.evaluate("6 * 7") == 42


def test_a_call_without_metadata_is_served(grid: Appliance, level: str, neighbour: Page) -> None:
    with RawClient(grid, level) as client:
        message = {"id": 7, "guid": client.guid("Browser"), "method": "newContext", "params": {}}
        assert client.send(message)["context"]
    assert neighbour.evaluate("6 * 7") == 42


def test_a_client_that_leaves_while_a_page_is_made_ends_nobody(grid: Appliance, level: str, neighbour: Page) -> None:
    client = RawClient(grid, level)
    client.post({"id": 7, "guid": client.context(), "method": "newPage", "params": {}, "metadata": {}})
    client.close()
    assert neighbour.evaluate("6 * 7") == 42


def test_an_upload_whose_name_is_too_long_is_refused_to_its_session_alone(
    grid: Appliance, level: str, neighbour: Page
) -> None:
    with RawClient(grid, level) as client:
        client.call(client.context(), "createTempFiles", items=[{"name": "x" * 300}])
        for _ in range(2):  # the file may not have failed when the first one comes
            answer = client.call(client.guid("WritableStream"), "write", binary="YQ==")
            assert "ENAMETOOLONG" in answer["error"]
    assert neighbour.evaluate("6 * 7") == 42


def test_a_page_that_calls_an_exposed_function_with_garbage_ends_nobody(
    grid: Appliance, level: str, neighbour: Page, clients: Playwright
) -> None:
    page = clients.chromium.connect(grid.endpoint + level).new_page()
    page.expose_function("add", lambda one, other: one + other)
    for garbage in ("garbage", "null", '{"name":"add","seq":1,"serializedArgs":5}'):
        page.evaluate("garbage => globalThis.__playwright__binding__(garbage)", garbage)
    assert page.evaluate("add(1, 2)") == 3
    assert neighbour.evaluate("6 * 7") == 42
    page.context.browser.close()  # type: ignore[union-attr]


def test_a_title_that_is_no_text_ends_nobody_and_its_worker_is_replaced(
    start_grid: StartGrid, clients: Playwright
) -> None:
    grid = start_grid(MAX_LIFETIME_SESSIONS=0)
    (worker,) = grid.available(1)
    neighbour = clients.chromium.connect(grid.endpoint).new_page()
    with RawClient(grid) as client:
        client.call(client.context(), "newPage")
        if "Debugger" not in client.guids or "error" in client.call(client.guid("Debugger"), "enable"):
            pytest.skip("drivers before 1.63 have debuggers that say nothing unasked")
        call = {"guid": client.guid("Frame"), "method": "waitForTimeout", "metadata": {"title": "{url}"}}
        client.post(call | {"id": 98, "params": {"waitTimeout": 60_000, "url": 5}})
        # what another call logs is told by a timer, with the titles of both
        client.post(call | {"id": 99, "method": "click", "params": {"selector": "nothing"}, "metadata": {}})
        until(lambda: "its driver had an error" in grid.log("chromium-00"), "the worker drains")
        assert neighbour.evaluate("6 * 7") == 42
    neighbour.context.browser.close()  # type: ignore[union-attr]
    grid.successor(worker)
