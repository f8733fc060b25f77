"""What real clients are told when there is no session for them, and what the pages say."""

from __future__ import annotations

import time
from contextlib import closing
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Error, sync_playwright

from appliance.settings.config import Settings
from tests.support.appliance import Appliance
from tests.support.waiting import until
from tests.support.wire import Wire


@pytest.fixture(autouse=True)
def _no_session_is_left_of_another_test(grid: Appliance) -> None:
    until(lambda: not grid.state.sessions(), "the sessions are over, of whose ends another test sees no event")


def test_a_firefox_client_without_a_query_asks_for_firefox_and_is_refused_at_once(grid: Appliance) -> None:
    with sync_playwright() as playwright:
        started = time.monotonic()
        with pytest.raises(Error, match="This grid serves no firefox"):
            playwright.firefox.connect(grid.endpoint)
        assert time.monotonic() - started < Settings.model_fields["queue_timeout"].default


def test_a_client_may_connect_by_http(grid: Appliance) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint.replace("ws:", "http:"))
        assert browser.is_connected()
        browser.close()


# As Playwright Test 1.65 sends it with default settings.
STOCK_OPTIONS = (
    '{"handleSIGINT":false,"tracesDir":"/home/me/test-results/.playwright-artifacts-0/traces",'
    '"artifactsDir":"/home/me/test-results/.playwright-artifacts-0","headless":true}'
)


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({"x-playwright-launch-options": STOCK_OPTIONS}, ""),
        ({"x-playwright-launch-options": '{"slowMo": 50}'}, ""),
        ({"x-playwright-launch-options": '{"args": ["--lang=de"]}'}, "cannot honour the launch option args"),
        ({"x-playwright-launch-options": "{"}, "not a JSON object"),
    ],
)
def test_a_clients_wishes_are_honoured_told_or_refused_without_a_slot(
    headers: dict[str, str], refusal: str, grid: Appliance
) -> None:
    before = grid.state.events()
    with sync_playwright() as playwright:
        if refusal:
            with pytest.raises(Error, match=refusal):
                playwright.chromium.connect(grid.endpoint, headers=headers)
            assert grid.state.events() == before
            return
        with closing(playwright.chromium.connect(grid.endpoint, headers=headers)) as browser:
            assert browser.new_page().evaluate("6 * 7") == 42
    if "slowMo" in str(headers):
        with Wire(grid.port) as wire:
            said = wire.upgrade("/", **headers).headers["x-playwright-debug-log"]
        assert "a browser of its own, for slowMo" in said


def test_an_unknown_parameter_is_refused_to_a_real_client(grid: Appliance) -> None:
    with sync_playwright() as playwright, pytest.raises(Error, match="Unknown query parameter 'launch-options'"):
        playwright.chromium.connect(f"{grid.endpoint}/?launch-options=%7B%7D")


def test_the_pages_say_how_the_grid_is(grid: Appliance) -> None:
    assert grid.get("/healthz")["status"] == "ok"
    assert grid.get("/readyz")["status"] == "ready"
    (pool,) = grid.get("/api/v1/capacity")["pools"]
    assert (pool["browser"], pool["slots"], pool["free"]) == ("chromium", 5, 5)
    with pytest.raises(HTTPError) as raised:
        grid.get("/")
    assert raised.value.code == 426
    assert grid.endpoint.rpartition(":")[2] in raised.value.read().decode()


def test_prometheus_finds_the_pools_gauges(grid: Appliance) -> None:
    with urlopen(f"http://127.0.0.1:{grid.port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    for gauge, value in {"slots": 5.0, "slots_free": 5.0, "sessions_active": 0.0, "sessions_waiting": 0.0}.items():
        assert f'appliance_{gauge}{{browser="chromium",version="1.65"}} {value}' in lines
    assert 'appliance_workers{browser="chromium",status="available",version="1.65"} 1.0' in lines


def test_the_answer_tells_a_clients_log_its_session_and_how_long_it_waited(grid: Appliance) -> None:
    with Wire(grid.port) as wire:
        said = wire.upgrade().headers["x-playwright-debug-log"].splitlines()
        (session,) = grid.state.sessions()
    assert said == [f"session {session.id} on {session.worker}", "waited 0 ms for a slot"]
