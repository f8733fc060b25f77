"""The dashboard's pages: what is open, the log-in, and what a look at a session takes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.grid.story import Story
from appliance.grid.token_table import Principal
from appliance.request_errors import LookRefused, NotFound, Unauthorized
from appliance.settings import config
from proxy.dashboard.pages import Dashboard
from proxy.dashboard.view import Views
from proxy.pages import ADMIT

ADMIN, CI = Principal("boss", is_admin=True), Principal("ci")
REQUEST = {
    "id": "5f",
    "name": "",
    "browser": "chromium",
    "minor": "1.65",
    "client": "::1",
    "user_agent": "",
    "proxy": "p",
}
REQUEST |= {"token": "ci", "isolation": "browser"}
OWN = Story.parse({"request": json.dumps(REQUEST), "status": "active", "worker": "here.chromium-00.a"})


def grid() -> Grid:
    return Grid(Store("unix:///nowhere", "test"))


def ask(
    path: str, method: str = "GET", admit: Any = lambda: ADMIN, **environ: str
) -> tuple[str, dict[str, str], bytes]:
    """Return the status, the headers and the body of an answer."""
    said: list[Any] = []
    request = {"PATH_INFO": path, "REQUEST_METHOD": method, "wsgi.url_scheme": "http", ADMIT: admit, **environ}
    body = b"".join(Dashboard(grid(), config.load())(request, lambda *answer: said.extend(answer)))
    return said[0], dict(said[1]), body


def refuse() -> Principal:
    raise Unauthorized("The grid does not know this token, or it was revoked.")


def test_the_page_is_served_to_who_has_no_token_yet() -> None:
    status, headers, body = ask("/dashboard", admit=refuse)
    assert status == "200 OK"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert b'<script src="/dashboard/app.js" type="module">' in body
    again, _, nothing = ask("/dashboard", HTTP_IF_NONE_MATCH=headers["ETag"])
    assert (again, nothing) == ("304 Not Modified", b"")


@pytest.mark.parametrize(
    "path", ["/dashboard/none.js", "/dashboard/../pages.py", "/dashboard/index.html", "/dashboard/live"]
)
def test_nothing_else_is_served(path: str) -> None:
    assert ask(path)[0] == "404 Not Found"


def test_a_token_that_is_known_is_kept_in_a_cookie_that_scripts_cannot_read() -> None:
    status, headers, _ = ask("/dashboard/log-in", "POST", HTTP_AUTHORIZATION="Bearer secret")
    assert status == "204 No Content"
    assert headers["Set-Cookie"] == "appliance_token=secret; Path=/; HttpOnly; SameSite=Strict"
    secure = {"wsgi.url_scheme": "https", "HTTP_AUTHORIZATION": "Bearer secret"}
    assert ask("/dashboard/log-in", "POST", **secure)[1]["Set-Cookie"].endswith("; Secure")
    assert "Max-Age=0" in ask("/dashboard/log-out", "POST")[1]["Set-Cookie"]


def test_a_log_in_needs_a_token_that_is_known_and_a_post() -> None:
    status, headers, body = ask("/dashboard/log-in", "POST", admit=refuse, HTTP_AUTHORIZATION="Bearer guess")
    assert status == "401 Unauthorized"
    assert "Set-Cookie" not in headers
    assert "does not know this token" in json.loads(body)["error"]["message"]
    assert ask("/dashboard/log-in", "POST")[0] == "401 Unauthorized"
    assert ask("/dashboard/log-in", HTTP_AUTHORIZATION="Bearer secret")[0] == "405 Method Not Allowed"


def found(monkeypatch: pytest.MonkeyPatch, session: Story, who: Principal = ADMIN, **settings: Any) -> Story:
    monkeypatch.setattr(Grid, "session", lambda *_: session)
    return Views(grid(), config.load(**settings)).find(who, "session=5f")


def test_an_admin_and_the_sessions_own_token_may_look(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, OWN) == found(monkeypatch, OWN, CI) == OWN
    nobodys = replace(OWN, token="")
    for session, who in ((OWN, Principal("other")), (OWN, Principal()), (nobodys, Principal()), (nobodys, CI)):
        with pytest.raises(NotFound, match=r"There is no session '5f'\."):
            found(monkeypatch, session, who)


@pytest.mark.parametrize(
    ("changes", "host", "live_view", "sentence"),
    [
        ({}, "127.0.0.1", "off", "LIVE_VIEW=off"),
        ({"status": "waiting", "worker": ""}, "127.0.0.1", None, "has no browser: it waits"),
        ({"status": "ended"}, "127.0.0.1", None, "has no browser: it has ended"),
        ({"protocol": "cdp"}, "0.0.0.0", "own", ""),
        ({"isolation": "context"}, "127.0.0.1", "own", "LIVE_VIEW=all"),
        ({"isolation": "context"}, "0.0.0.0", None, "LIVE_VIEW=all"),
        ({}, "0.0.0.0", None, ""),
        ({"isolation": "context"}, "127.0.0.1", None, ""),
        ({"isolation": "context"}, "0.0.0.0", "all", ""),
        ({"status": "kept"}, "0.0.0.0", "own", ""),
    ],
)
def test_what_is_not_shown_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], host: str, live_view: str | None, sentence: str
) -> None:
    said = ""
    try:
        found(monkeypatch, replace(OWN, **changes), host=host, live_view=live_view)
    except LookRefused as error:
        said = str(error)
    assert sentence in said
    assert bool(sentence) == bool(said)
