"""What real clients are told when there is no session for them, and what the pages say."""

from __future__ import annotations

import http.client
import time
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Error, sync_playwright

from tests.system.bare_client import UPGRADE
from tests.system.grid import Grid


def test_a_firefox_client_without_a_query_asks_for_firefox_and_is_refused_at_once(grid: Grid) -> None:
    with sync_playwright() as playwright:
        started = time.monotonic()
        with pytest.raises(Error, match="This grid serves no firefox"):
            playwright.firefox.connect(grid.endpoint)
        assert time.monotonic() - started < 1


def test_a_client_may_connect_by_http(grid: Grid) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint.replace("ws:", "http:"))
        assert browser.is_connected()
        browser.close()


def test_the_pages_say_how_the_grid_is(grid: Grid) -> None:
    assert grid.get("/healthz")["status"] == "ok"
    assert grid.get("/readyz")["status"] == "ready"
    (pool,) = grid.get("/api/v1/capacity")["pools"]
    assert (pool["browser"], pool["slots"], pool["free"]) == ("chromium", 5, 5)
    with pytest.raises(HTTPError) as raised:
        grid.get("/")
    assert raised.value.code == 426
    assert grid.endpoint.rpartition(":")[2] in raised.value.read().decode()


def test_prometheus_finds_the_pools_gauges(grid: Grid) -> None:
    with urlopen(f"http://127.0.0.1:{grid.port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    for gauge, value in {"slots": 5.0, "slots_free": 5.0, "sessions_active": 0.0, "sessions_waiting": 0.0}.items():
        assert f'appliance_{gauge}{{browser="chromium",version="1.65"}} {value}' in lines
    assert 'appliance_workers{browser="chromium",status="available",version="1.65"} 1.0' in lines


def test_the_answer_tells_a_clients_log_its_session_and_how_long_it_waited(grid: Grid) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", grid.port, timeout=5)
    connection.request("GET", "/", headers=UPGRADE)
    answer = connection.getresponse()
    assert answer.status == 101
    assert answer.getheader("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
    said = answer.headers.get_all("x-playwright-debug-log")
    (session,) = grid.registry.sessions()
    assert said == [f"session {session.id} on {session.worker}", "waited 0 ms for a slot"]
    connection.close()
