"""Clients of other protocols and of other grids are told what this is, and how to connect."""

from __future__ import annotations

import pytest

from appliance.errors import NotFound, WrongClient
from appliance.grid.languages import how_to_install
from proxy import wrong_client

ENDPOINT = "ws://grid:8080"
NOT_REFUSED = ("/", "/json", "/healthz", "/metrics", "/api/v1/capacity", "/dashboard", "/sessionless", "/cdpx")


@pytest.mark.parametrize("path", NOT_REFUSED)
def test_paths_of_this_grid_and_of_nobody_are_left_alone(path: str) -> None:
    wrong_client.refuse_path(path, ENDPOINT)


@pytest.mark.parametrize(
    "path", ["/json/version", "/json/version/", "/json/list", "/json/protocol", "/json/new", "/devtools/page/1"]
)
def test_paths_of_cdp_are_refused_with_the_right_call(path: str) -> None:
    with pytest.raises(WrongClient, match=r"connect\(\), not connectOverCDP\(\)") as raised:
        wrong_client.refuse_path(path, ENDPOINT)
    assert f'playwright.chromium.connect("{ENDPOINT}")' in raised.value.hint


def test_cdp_is_said_to_be_missing_where_it_is_to_come() -> None:
    with pytest.raises(WrongClient, match="does not offer CDP sessions yet: use Playwright's connect"):
        wrong_client.refuse_path("/cdp", ENDPOINT)


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
    with pytest.raises(WrongClient):
        wrong_client.refuse_session("/", headers, ENDPOINT)


def test_a_page_leads_connect_over_cdp_to_the_refusal_that_it_prints() -> None:
    agent = {"user-agent": "Playwright/1.65.1 (x64; debian 12) node/20.20"}
    wrong_client.refuse_page("/json/version/", agent, ENDPOINT)
    for path, headers in (("/json/version/", {"user-agent": "node"}), ("/json/list", agent)):
        with pytest.raises(WrongClient):
            wrong_client.refuse_page(path, headers, ENDPOINT)


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
