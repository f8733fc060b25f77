"""Clients of other protocols and of other grids are told what this is, and how to connect."""

from __future__ import annotations

import pytest

from appliance.grid.languages import how_to_install
from appliance.request_errors import NotFound, WrongClient
from proxy import wrong_client

ENDPOINT = "ws://grid:8080"
NOT_REFUSED = (
    "/",
    "/json",
    "/json/version",
    "/healthz",
    "/metrics",
    "/api/v1/capacity",
    "/dashboard",
    "/sessionless",
    "/cdpx",
    "/cdp",
)


@pytest.mark.parametrize("path", NOT_REFUSED)
def test_paths_of_this_grid_and_of_nobody_are_left_alone(path: str) -> None:
    wrong_client.refuse_path(path, ENDPOINT)


def test_paths_of_cdp_targets_are_refused() -> None:
    with pytest.raises(WrongClient, match="no list of targets"):
        wrong_client.refuse_path("/json/list", ENDPOINT)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/wd/hub/session", "not a Selenium grid"),
        ("/session", "not a Selenium grid"),
        ("/status", "not a Selenium grid"),
        ("/chromium/playwright", "no sessions at /chromium/playwright"),
        ("/playwright/chrome", "no sessions at /playwright/chrome"),
        ("/screenshot", "no REST API"),
    ],
)
def test_paths_of_other_grids_are_refused_with_the_right_call(path: str, message: str) -> None:
    with pytest.raises(NotFound, match=message) as raised:
        wrong_client.refuse_path(path, ENDPOINT)
    assert ENDPOINT in raised.value.hint


# As recorded: connect() of Playwright 1.65, connectOverCDP() of it, Puppeteer 24, and connect() of Playwright 1.16.
CLIENTS = {
    "connect": ({"user-agent": "Playwright/1.65.1 (x64; debian 12) node/20.20", "x-playwright-proxy": ""}, True),
    "connectOverCDP": ({"user-agent": "Playwright/1.65.1 (x64; debian 12) node/20.20"}, False),
    "puppeteer": ({"user-agent": "Puppeteer 24.43.1"}, False),
    "chromedp": ({}, False),
    "an old connect": ({"user-agent": "Playwright/1.16.3 (x64; debian 11) node/14"}, True),
}


@pytest.mark.parametrize(("headers", "is_right"), CLIENTS.values(), ids=CLIENTS)
def test_a_cdp_client_is_told_from_playwrights_connect(headers: dict[str, str], is_right: bool) -> None:
    if is_right:
        wrong_client.refuse_session("/", headers, ENDPOINT)
        return
    with pytest.raises(WrongClient, match=r"CDP clients, .* have one at /cdp") as raised:
        wrong_client.refuse_session("/", headers, ENDPOINT)
    assert 'connect_over_cdp("http://grid:8080")' in raised.value.hint


@pytest.mark.parametrize("path", ["/cdp", "/devtools/browser/1"])
def test_playwrights_connect_at_the_endpoint_of_cdp_is_told_where_its_own_is(path: str) -> None:
    with pytest.raises(WrongClient, match="the endpoint of CDP clients") as raised:
        wrong_client.refuse_session(path, CLIENTS["connect"][0], ENDPOINT)
    assert f'playwright.chromium.connect("{ENDPOINT}")' in raised.value.hint
    for name in ("connectOverCDP", "puppeteer", "chromedp"):
        wrong_client.refuse_session(path, CLIENTS[name][0], ENDPOINT)


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("grid.example:9", "wss://grid.example:9"),
        ("[::1]:80", "wss://[::1]:80"),
        ("", "wss://own"),
        ('a"b', "wss://own"),
    ],
)
def test_the_endpoint_is_named_as_the_client_knows_it(host: str, endpoint: str) -> None:
    assert wrong_client.endpoint_at(host, "wss://own") == endpoint


@pytest.mark.parametrize(
    ("language", "command"),
    [
        ("python/3.11", "pip install 'playwright==1.65.*'"),
        ("node/20.20", "npm install @playwright/test@1.65"),
        ("java/17", "com.microsoft.playwright:playwright to [1.65,1.66)"),
        ("csharp/8.0", 'dotnet add package Microsoft.Playwright --version "1.65.*"'),
    ],
)
def test_the_hint_of_another_version_speaks_the_clients_language(language: str, command: str) -> None:
    assert command in how_to_install(f"Playwright/1.40.0 (x64; debian 12) {language}", "1.65")


def test_the_hint_to_a_client_of_an_unknown_language_names_two() -> None:
    hint = how_to_install("Playwright/1.40.0", "1.65")
    assert "pip install" in hint
    assert "npm install" in hint
