"""A grid that wants tokens, with real clients: who gets in, for how long, and that no token shows anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Error, Page, Playwright, expect, sync_playwright

from appliance.grid.client import connect
from appliance.machine.supervisor import Supervisor
from tests.support.appliance import Appliance
from tests.support.looks import bytes_of, command_of, environment_of, paths_in
from tests.support.waiting import WITHIN_S, until
from tests.support.wire import Wire

BOOT_TOKEN = "ci/boot+secret~0123456789=="


@pytest.fixture(scope="module")
def grid() -> Iterator[Appliance]:
    """Provide an appliance whose first token was given to it at its start."""
    with Appliance(MAX_LIFETIME_SESSIONS=0, APPLIANCE_TOKEN=BOOT_TOKEN) as grid:
        yield grid


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Provide a stock client."""
    with sync_playwright() as playwright:
        yield playwright


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def create(grid: Appliance, name: str) -> str:
    return grid.applctl("token", "create", name).stdout.strip()


def status_of(grid: Appliance, path: str, headers: dict[str, str]) -> tuple[int, str | None]:
    try:
        with urlopen(Request(f"http://127.0.0.1:{grid.port}{path}", headers=headers), timeout=30) as answer:
            return answer.status, None
    except HTTPError as error:
        with error:
            return error.code, error.headers["WWW-Authenticate"]


WAYS = ("ws://{}", "http://{}", "ws://{}/?token=T", "ws://{}/?token=RAW", "http://{}?token=T", "ws://any:T@{}")


@pytest.mark.parametrize("way", WAYS)
def test_a_stock_client_gets_in_with_its_token(grid: Appliance, playwright: Playwright, way: str) -> None:
    url = way.format(f"127.0.0.1:{grid.port}")
    headers = {} if "T" in url or "RAW" in url else bearer(BOOT_TOKEN)
    url = url.replace("RAW", BOOT_TOKEN) if "RAW" in url else url.replace("T", quote(BOOT_TOKEN, safe=""))
    browser = playwright.chromium.connect(url, headers=headers)
    (session,) = grid.state.sessions()
    assert session.token == "appliance"
    browser.close()
    until(lambda: not grid.state.sessions(), "the session has ended")


@pytest.mark.parametrize(
    ("query", "said"), [("", "the request has none"), ("?token=wrong-secret", "does not know this token")]
)
def test_a_client_without_the_right_token_is_told_how_to_give_one(
    grid: Appliance, playwright: Playwright, query: str, said: str
) -> None:
    with pytest.raises(Error, match="401") as raised:
        playwright.chromium.connect(f"{grid.endpoint}/{query}")
    assert said in raised.value.message
    assert "?token=TOKEN" in raised.value.message
    assert "applctl token create NAME" in raised.value.message


def test_pages_that_tell_of_the_grid_want_a_token_and_health_checks_do_not(grid: Appliance) -> None:
    for path in ("/metrics", "/api/v1/capacity", "/api/v1/appliance"):
        assert status_of(grid, path, {}) == (401, "Bearer")
        assert status_of(grid, path, bearer("wrong")) == (401, "Bearer")
    basic = base64.b64encode(f"any:{BOOT_TOKEN}".encode()).decode()
    assert status_of(grid, "/metrics", {"Authorization": f"Basic {basic}"})[0] == 200
    assert status_of(grid, f"/api/v1/capacity?token={BOOT_TOKEN}", {})[0] == 200
    assert status_of(grid, "/metrics", {"Authorization": "Basic é"}) == (401, "Bearer")
    for path in ("/healthz", "/readyz", "/json"):
        assert status_of(grid, path, {})[0] == 200
    assert status_of(grid, "/api/v1/none", {})[0] == 404
    assert status_of(grid, "/", {})[0] == 426


def test_a_revoked_token_opens_no_session_more_and_running_ones_go_on(grid: Appliance, playwright: Playwright) -> None:
    token = create(grid, "ci")
    with closing(playwright.chromium.connect(grid.endpoint, headers=bearer(token))) as browser:
        (session,) = grid.state.sessions()
        assert session.token == "ci"
        assert "token=ci" in until(lambda: [x for x in grid.log("proxy").splitlines() if session.id in x], "a log")[0]
        grid.applctl("token", "revoke", "ci")
        with pytest.raises(Error, match="401"):
            playwright.chromium.connect(grid.endpoint, headers=bearer(token))
        assert browser.new_page().evaluate("6 * 7") == 42


def test_tokens_outlive_a_redis_that_lost_everything_and_a_restart(grid: Appliance, playwright: Playwright) -> None:
    token, bad = create(grid, "nightly"), create(grid, "leaked")
    grid.applctl("token", "revoke", "leaked")
    Supervisor(grid.run_dir).restart_process("redis", within_s=60)

    def check() -> None:
        playwright.chromium.connect(grid.endpoint, headers=bearer(token)).close()
        for headers in ({}, bearer(bad)):
            with pytest.raises(Error, match="401"):
                playwright.chromium.connect(grid.endpoint, headers=headers)

    until(lambda: not _is_away(grid), "Redis is back")
    check()
    grid.applctl("restart")
    check()


def _is_away(grid: Appliance) -> bool:
    return status_of(grid, "/readyz", {})[0] != 200


def test_the_appliances_own_commands_get_in(grid: Appliance, tmp_path: Path) -> None:
    grid.applctl("demo", "-o", str(tmp_path / "page.png"))
    assert grid.applctl("status").returncode == 0
    grid.available(1)
    names = grid.applctl("token", "list").stdout
    assert "appliance" in names
    assert "applctl-" not in names  # the demo's own is revoked


def test_no_token_shows_in_a_log_a_record_a_file_or_a_process(grid: Appliance, playwright: Playwright) -> None:
    token = create(grid, "secret")
    secrets = (token, BOOT_TOKEN, "wrong-secret")
    url = f"{grid.endpoint}/?token={token}&name=n"
    with closing(playwright.chromium.connect(url, headers={"Cookie": f"c={token}"})):
        with pytest.raises(Error, match="404"):
            playwright.chromium.connect(f"{grid.endpoint}/nothing?token={token}")
        seen = {f"process {process.pid}": str(environment_of(process)) for process in grid.processes()}
        seen |= {f"command {process.pid}": str(command_of(process)) for process in grid.processes()}
        seen |= {"Redis": _everything_in_redis(grid)}
    until(lambda: "token=secret" in grid.log("proxy"), "its session is logged")
    files = (path for path in paths_in(grid.run_dir) if path.is_file() and path.suffix in (".log", ".json"))
    seen |= {str(path): bytes_of(path).decode(errors="replace") for path in files}
    assert '"name":"secret"' in seen["Redis"].replace(" ", "")
    assert not [place for place, text in seen.items() if any(secret in text for secret in secrets)]


def log_in(page: Page, token: str) -> None:
    page.get_by_role("textbox", name="Token").fill(token)
    page.get_by_role("button", name="Log in").click()


def test_a_client_logs_in_to_the_dashboard_and_sees_its_own_session(grid: Appliance, playwright: Playwright) -> None:
    token, other = create(grid, "dev"), create(grid, "someone")
    viewing = playwright.chromium.connect(f"{grid.endpoint}/?token={other}&name=others")
    own = playwright.chromium.connect(f"{grid.endpoint}/?token={token}&name=mine")
    own.new_page()
    with closing(viewing), closing(own):
        page = viewing.new_page()
        page.goto(f"http://127.0.0.1:{grid.port}/dashboard")
        log_in(page, "guess")
        expect(page.get_by_role("alert").filter(has_text="The grid does not know this token")).to_be_visible()
        log_in(page, token)
        expect(page.locator("#session-rows .name")).to_have_text(["mine"])
        assert page.locator("#events-card").is_hidden()
        assert page.locator(".step").count() == 0
        page.get_by_label("Watch mine").click()
        expect(page.locator("#watch canvas")).to_be_visible()
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        grid.applctl("token", "revoke", "dev")
        expect(page.get_by_role("textbox", name="Token")).to_be_visible(timeout=WITHIN_S * 1000)


def _everything_in_redis(grid: Appliance) -> str:
    """Return every key with its value, whatever its type; DUMP would compress what is long."""
    read = {"string": "get", "hash": "hgetall", "set": "smembers"}
    with connect(grid.state.store.url) as redis:
        found = []
        for key in redis.scan_iter():
            if (kind := redis.type(key)) == "none":  # it has expired
                continue
            arguments = {"zset": (0, -1), "stream": ()}.get(kind, ())
            command = {"zset": "zrange", "stream": "xrange"}.get(kind) or read[kind]
            found.append((key, getattr(redis, command)(key, *arguments)))
    return str(found)


def test_a_live_view_ends_when_the_token_of_its_viewer_is_revoked(grid: Appliance, playwright: Playwright) -> None:
    token = create(grid, "watcher")
    own = playwright.chromium.connect(f"{grid.endpoint}/?token={token}&isolation=browser")
    with closing(own) as browser, Wire(grid.port) as viewer:
        browser.new_page()
        (session,) = grid.state.sessions()
        target = f"/dashboard/view?session={session.id}"
        until(lambda: status_of(grid, target, bearer(token))[0] == 204, "the session can be looked at")
        assert viewer.upgrade(target, Authorization=f"Bearer {token}").status == 101
        grid.applctl("token", "revoke", "watcher")
        assert b"This token was revoked." in viewer.read_all()
        assert browser.new_page().evaluate("1") == 1, "sessions that run go on"
