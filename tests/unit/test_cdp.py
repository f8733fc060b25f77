"""CDP clients: which paths are theirs, what they may ask for, and how they find their endpoint."""

from __future__ import annotations

import json

import pytest

from appliance.names import Protocol
from appliance.request_errors import BadRequest, WrongClient
from appliance.settings import config
from proxy import cdp

ENDPOINT = "ws://grid:8080"


@pytest.mark.parametrize("path", ["/cdp", "/cdp/", "/devtools/browser", "/devtools/browser/0a1b-2c"])
def test_the_paths_of_cdp_sessions_are_known(path: str) -> None:
    assert cdp.protocol_at(path) is Protocol.CDP


@pytest.mark.parametrize("path", ["/", "/cdpx", "/cdp/json/version", "/devtools/page/1", "/devtools/browsers"])
def test_other_paths_are_not_those_of_cdp_sessions(path: str) -> None:
    assert cdp.protocol_at(path) is Protocol.PLAYWRIGHT


@pytest.mark.parametrize(
    "path", ["/json/list", "/json/protocol", "/json/new", "/json/close/1", "/devtools/page/1", "/cdp/json/list"]
)
def test_paths_of_targets_are_refused_with_the_right_calls(path: str) -> None:
    with pytest.raises(WrongClient, match="each CDP connection has a browser of its own") as raised:
        cdp.refuse_targets(path, ENDPOINT)
    assert 'connect_over_cdp("http://grid:8080")' in raised.value.hint
    assert "ws://grid:8080/cdp" in raised.value.hint


@pytest.mark.parametrize(
    ("endpoint", "query", "forwarded", "url"),
    [
        ("ws://grid:8080", "", "", "ws://grid:8080/cdp"),
        ("ws://grid", "token=a%20b&name=n", "", "ws://grid/cdp?token=a%20b&name=n"),
        ("wss://grid", "", "", "wss://grid/cdp"),
        ("ws://grid", "", "https", "wss://grid/cdp"),
        ("wss://grid", 'name="', "https", 'wss://grid/cdp?name="'),
        ("ws://wss.example", "", "https", "wss://wss.example/cdp"),
    ],
)
def test_the_version_page_names_the_endpoint_with_the_requests_query(
    endpoint: str, query: str, forwarded: str, url: str
) -> None:
    content = json.loads(cdp.version_page(endpoint, query, forwarded))
    assert content == {"Browser": "Chromium", "Protocol-Version": "1.3", "webSocketDebuggerUrl": url}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"browser": "firefox"}, "CDP sessions have Chromium"), ({"isolation": "context"}, "a browser of its own")],
)
def test_what_no_cdp_session_has_is_refused(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        cdp.check(parameters, config.load())
    for allowed in ({}, {"browser": "Chromium", "isolation": "browser"}):
        cdp.check(allowed, config.load())


def test_a_proxy_whose_password_no_cdp_client_knows_is_refused_in_words() -> None:
    cdp.check({}, config.load(browser_proxy="http://proxy:3128"))
    with pytest.raises(BadRequest, match="a proxy with a password") as raised:
        cdp.check({}, config.load(browser_proxy="http://me:secret@proxy:3128"))
    assert "secret" not in f"{raised.value} {raised.value.hint}"
