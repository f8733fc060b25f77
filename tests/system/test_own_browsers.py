"""isolation=browser: a session with a browser process of its own, never used before and killed after."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

from appliance.machine import browsers
from appliance.names import Browser as Name
from appliance.settings import config
from tests.support.appliance import Appliance, StartGrid, tree
from tests.support.waiting import until
from tests.support.wire import UPGRADE, Wire, request

OPTIONS = "x-playwright-launch-options"
OWN = "?isolation=browser"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def grid() -> Iterator[Appliance]:
    """Return an appliance with one worker, without a reserve."""
    settings = {"MAX_LIFETIME_SESSIONS": 0, "LAUNCH_ARGS": "--user-agent,--enable-features", "SPARE_WORKERS": 0}
    with Appliance(**settings) as grid:
        yield grid


@pytest.fixture(autouse=True)
def _nothing_is_left_of_another_test(grid: Appliance) -> None:
    until(lambda: not grid.state.sessions() and len(grid.browser_pids()) == 1, "the shared browser alone is left")


def files(grid: Appliance) -> set[str]:
    """Name what lies in the worker's temporary folder."""
    return {path.name for path in (grid.socket_of(grid.state.workers()[0]).parent / "tmp").iterdir()}


def connect(playwright: Playwright, grid: Appliance, query: str = OWN, **options: object) -> Browser:
    headers = {OPTIONS: json.dumps(options)} if options else {}
    return playwright.chromium.connect(f"{grid.endpoint}/{query}", headers=headers)


def test_each_session_has_a_browser_of_its_own_and_leaves_nothing(
    grid: Appliance, playwright: Playwright, site: str
) -> None:
    shared, before = grid.browser_pids(), files(grid)
    sessions = [connect(playwright, grid) for _ in range(2)]
    assert len(grid.browser_pids()) == len(shared) + 2
    for session in sessions:
        page = session.new_page()
        page.goto(site)
        assert page.title() == "A real page"
        session.new_browser_cdp_session()
    assert {session.isolation for session in grid.state.sessions()} == {"browser"}
    assert grid.audit() == []
    for session in sessions:
        session.close()
    until(lambda: grid.browser_pids() == shared, "both browsers are gone")
    until(lambda: files(grid) == before, "their files are gone")


def test_a_sessions_own_browser_draws_without_a_gpu_process(grid: Appliance, playwright: Playwright) -> None:
    (shared,) = grid.browser_pids()
    session = connect(playwright, grid)
    page = session.new_page()
    assert page.evaluate("Boolean(document.createElement('canvas').getContext('webgl2'))")
    assert page.screenshot().startswith(b"\x89PNG")
    (own,) = grid.browser_pids() - {shared}
    children = {pid: psutil.Process(pid).children(recursive=True) for pid in (shared, own)}
    lines = {pid: {word for one in group for word in one.cmdline()} for pid, group in children.items()}
    assert [("--type=gpu-process" in lines[pid], "--type=zygote" in lines[pid]) for pid in (shared, own)] == [
        (True, True),
        (False, True),
    ]
    session.close()


def test_a_client_that_enables_a_feature_takes_it_from_nobody_else(grid: Appliance, playwright: Playwright) -> None:
    (shared,) = grid.browser_pids()
    session = connect(playwright, grid, args=["--enable-features=OfTheClient"])
    (own,) = grid.browser_pids() - {shared}
    lists = {pid: [one for one in psutil.Process(pid).cmdline() if "able-features=" in one] for pid in (shared, own)}
    for disabled, enabled in lists.values():
        assert "MediaRouter" in disabled.partition("=")[2].split(",")
        assert "NetworkServiceInProcess2" in enabled.partition("=")[2].split(",")
    assert lists[own][1] == f"{lists[shared][1]},OfTheClient"
    session.close()


def test_a_session_whose_browser_is_killed_is_told_and_its_neighbours_go_on(
    grid: Appliance, playwright: Playwright
) -> None:
    shared = grid.browser_pids()
    doomed = connect(playwright, grid).new_page()
    (pid,) = grid.browser_pids() - shared
    neighbours = [connect(playwright, grid, query).new_page() for query in (OWN, "")]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Error, match=r"the browser of this session crashed \(signal 9\)"):
        until(lambda: doomed.title() == "never", "it is told")
    assert [page.evaluate("6 * 7") for page in neighbours] == [42, 42]
    until(lambda: len(grid.state.sessions()) == 2, "its slot is free")
    for page in neighbours:
        page.context.browser.close()  # type: ignore[union-attr]
    until(lambda: grid.browser_pids() == shared, "nothing is left")


def test_a_client_that_closes_its_browser_ends_its_session_alone(grid: Appliance, playwright: Playwright) -> None:
    neighbour = connect(playwright, grid).new_page()
    browser = connect(playwright, grid)
    with suppress(Error):  # it may be gone before it answers
        browser.new_browser_cdp_session().send("Browser.close")
    until(lambda: len(grid.state.sessions()) == 1, "its slot is free")
    assert neighbour.evaluate("6 * 7") == 42
    ends = [event["reason"] for event in grid.state.events() if event["event"] == "session.ended"]
    assert ends[-1] == "the browser of this session was closed"
    neighbour.context.browser.close()  # type: ignore[union-attr]


def test_a_client_that_hangs_up_while_its_browser_starts_leaves_none(grid: Appliance) -> None:
    shared = grid.browser_pids()
    with Wire(grid.port) as client:
        client.socket.sendall(request(f"/{OWN}", UPGRADE))
        until(lambda: grid.browser_pids() != shared, "its browser starts")
    until(lambda: grid.browser_pids() == shared and not grid.state.sessions(), "nothing is left")


def test_what_sessions_keep_apart(grid: Appliance, playwright: Playwright, site: str) -> None:
    """Clipboard and targets of the browser, which sessions of a shared one would find."""
    first, second = (connect(playwright, grid) for _ in range(2))
    pages = [one.new_context(permissions=["clipboard-read", "clipboard-write"]).new_page() for one in (first, second)]
    for page in pages:
        page.goto(site)
    pages[0].evaluate("navigator.clipboard.writeText('secret')")
    assert pages[1].evaluate("navigator.clipboard.readText()") == ""
    found = second.new_browser_cdp_session().send("Target.getTargets")["targetInfos"]
    assert [target["url"] for target in found if target["type"] == "page" and target["url"] == site] == [site]
    for one in (first, second):
        one.close()


def test_launch_options_are_honoured_by_a_browser_of_the_sessions_own(grid: Appliance, playwright: Playwright) -> None:
    with web_site("proxied") as proxy:
        browser = connect(playwright, grid, "", proxy={"server": proxy}, args=["--user-agent=chosen"], slowMo=1)
        page = browser.new_page()
        page.goto("http://a-name.test/")
        assert (page.title(), page.evaluate("navigator.userAgent")) == ("proxied", "chosen")
        assert [session.isolation for session in grid.state.sessions()] == ["browser"]
        browser.close()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channel": "msedge"}, "This worker has no msedge. It has chromium-headless-shell"),
        ({"proxy": {"server": "socks5://a", "username": "u"}}, "The browser does not start so: .*socks5"),
    ],
)
def test_launch_options_that_a_worker_cannot_honour_are_refused_in_words(
    options: dict[str, object], sentence: str, grid: Appliance, playwright: Playwright
) -> None:
    shared = grid.browser_pids()
    with pytest.raises(Error, match=sentence):
        connect(playwright, grid, "", **options)
    until(lambda: grid.browser_pids() <= shared and not grid.state.sessions(), "nothing is left")


def test_a_reserve_keeps_the_launch_out_of_the_connect(start_grid: StartGrid, playwright: Playwright) -> None:
    grid = start_grid(ISOLATION="browser", SPARE_WORKERS=0, MAX_LIFETIME_SESSIONS=0)
    until(lambda: len(grid.browser_pids()) == 2, "one is in reserve")
    before = grid.browser_pids()
    session = connect(playwright, grid, "")
    session.new_page()
    assert [session.isolation for session in grid.state.sessions()] == ["browser"]
    until(lambda: len(grid.browser_pids()) == 3, "another takes its place")
    session.close()
    until(lambda: len(grid.browser_pids()) == 2, "the one that was used is gone")
    (used,) = before - grid.browser_pids()
    (ready,) = grid.browser_pids() - before
    os.kill(ready, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(ready), "its driver knows that it is gone")
    session = connect(playwright, grid, "")
    assert session.new_page().evaluate("6 * 7") == 42
    assert used not in grid.browser_pids()
    session.close()
    connect(playwright, grid, "?isolation=context").close()


def test_a_browser_that_hangs_in_the_reserve_is_given_to_no_session(
    start_grid: StartGrid, playwright: Playwright
) -> None:
    grid = start_grid(RESERVE_BROWSERS=1, SPARE_WORKERS=0, MAX_LIFETIME_SESSIONS=0, LAUNCH_TIMEOUT=10)
    until(lambda: len(grid.browser_pids()) == 2, "one is in reserve, or is starting")
    hung = max(grid.browser_pids(), key=lambda pid: psutil.Process(pid).create_time())
    os.kill(hung, signal.SIGSTOP)
    session = connect(playwright, grid)
    until(lambda: hung not in grid.browser_pids(), "it is gone")
    assert session.new_page().evaluate("6 * 7") == 42
    session.close()


def test_a_worker_that_cannot_launch_another_browser_says_so(
    start_grid: StartGrid, playwright: Playwright, tmp_path: Path
) -> None:
    program = tmp_path / "chromium"
    real = browsers.find(Name.CHROMIUM, config.load()).path
    program.symlink_to(real)
    grid = start_grid(CHROMIUM_EXECUTABLE=program, SPARE_WORKERS=0, QUEUE_TIMEOUT=1)
    program.unlink()
    with pytest.raises(Error, match="the driver of worker chromium-00 does not serve: it launches no browser"):
        connect(playwright, grid)
    connect(playwright, grid, "").close()
    program.symlink_to(real)
    session = connect(playwright, grid)
    assert session.new_page().evaluate("6 * 7") == 42
    session.close()
    until(lambda: not grid.state.sessions(), "its slot is free")


def test_what_a_killed_worker_leaves_is_removed_by_its_successor(grid: Appliance, playwright: Playwright) -> None:
    (worker,) = grid.available(1)
    connect(playwright, grid).new_page()
    family = tree(worker.pid)
    browsers_left = [psutil.Process(pid) for pid in grid.browser_pids()]
    for process in browsers_left:
        process.suspend()  # so that it does not end by itself
    family["worker"].kill()
    successor = grid.successor(worker)
    until(lambda: not any(process.is_running() for process in browsers_left), "no browser is left")
    until(lambda: grid.workspaces() == {successor.id.partition(".")[2]}, "no folder is left")


@contextmanager
def web_site(title: str) -> Iterator[str]:
    """Serve one page at every URL, also as a proxy; yield its address."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<title>{title}</title>".encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
