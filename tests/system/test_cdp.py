"""CDP sessions: real clients, each with a browser of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Error, Page, Playwright, sync_playwright

from appliance.machine import browsers
from appliance.names import Browser as Name
from appliance.settings import config
from tests.support.appliance import Appliance, StartGrid, free_port
from tests.support.frames import TEXT, frame, read_frame
from tests.support.killed_client import killed_client
from tests.support.looks import command_of
from tests.support.pages import said_to
from tests.support.viewers import JPEG, viewer
from tests.support.waiting import until
from tests.support.wire import UPGRADE, Wire, request

CLIENTS = Path(__file__).parent / "clients"
TOKEN = "cdp-0123456789abcdef"
AS_CDP = {name: value for name, value in UPGRADE.items() if not name.startswith("x-playwright")}


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def guarded() -> Iterator[Appliance]:
    """Return an appliance that wants a token."""
    with Appliance(MAX_LIFETIME_SESSIONS=0, APPLIANCE_TOKEN=TOKEN) as grid:
        yield grid


def at(url: str, grid: Appliance) -> str:
    """Return the address of a grid in the form of a URL."""
    return url.format(f"127.0.0.1:{grid.port}")


def connect(playwright: Playwright, grid: Appliance, url: str = "ws://{}/cdp", **options: Any) -> Browser:
    return playwright.chromium.connect_over_cdp(at(url, grid), **options)


def first_page(browser: Browser) -> Page:
    return browser.contexts[0].pages[0]


def folders(grid: Appliance) -> list[Path]:
    """Return the folders of CDP sessions."""
    return list((grid.socket_of(grid.state.workers()[0]).parent / "tmp").glob("cdp-*"))


def contents(folder: Path) -> list[str]:
    """Return what the files of a folder contain; a browser gives them their names when they are complete."""
    found = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            found.append(file.read_text())
    return found


def pid_of(folder: Path, grid: Appliance) -> int:
    """Return the browser whose files a folder has."""
    (pid,) = [pid for pid in grid.browser_pids() if f"{folder}/" in str(command_of(psutil.Process(pid)))]
    return pid


def nothing_is_left(grid: Appliance) -> None:
    until(lambda: not grid.state.sessions(), "the slot is free")
    until(lambda: len(grid.browser_pids()) == 1, "the shared browser alone is left")
    until(lambda: not folders(grid), "no folder is left")


def last_end(grid: Appliance) -> str:
    """Return why the session ended that ended last."""
    nothing_is_left(grid)
    return str([event["reason"] for event in grid.state.events() if event["event"] == "session.ended"][-1])


@pytest.mark.parametrize(
    "url",
    ["http://{}", "http://{}/?name=agent", "http://{}/cdp", "ws://{}/cdp?name=agent", "ws://{}/devtools/browser/1"],
)
def test_a_python_client_has_a_browser_of_its_own(url: str, grid: Appliance, playwright: Playwright, site: str) -> None:
    browser = connect(playwright, grid, url)
    page = first_page(browser)
    assert page.url == "about:blank"
    page.goto(site)
    assert page.title() == "A real page"
    (listed,) = json.loads(grid.applctl("sessions", "list", "--json").stdout)
    assert (listed["protocol"], listed["isolation"], listed["browser"]) == ("cdp", "browser", "chromium")
    assert listed["name"] == ("agent" if "name" in url else "")
    assert len(grid.browser_pids()) == 2
    assert grid.audit() == []
    browser.close()
    assert last_end(grid) == "closed"


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://{}", {"Authorization": f"Bearer {TOKEN}"}),
        ("ws://{}/cdp", {"Authorization": f"Bearer {TOKEN}"}),
        (f"http://{{}}/?token={TOKEN}", {}),
        (f"ws://{{}}/cdp?token={TOKEN}", {}),
    ],
)
def test_a_client_gets_in_with_its_token(
    url: str, headers: dict[str, str], guarded: Appliance, playwright: Playwright
) -> None:
    browser = connect(playwright, guarded, url, headers=headers)
    assert [session.token for session in guarded.state.sessions()] == ["appliance"]
    browser.close()
    nothing_is_left(guarded)


@pytest.mark.parametrize("url", ["http://{}", "ws://{}/cdp", "ws://{}/cdp?token=wrong-0123456789"])
def test_a_client_without_a_token_is_told_so(url: str, guarded: Appliance, playwright: Playwright) -> None:
    with pytest.raises(Error, match=r"the request has none|does not know this token"):
        connect(playwright, guarded, url)


def use_puppeteer(grid: Appliance, way: str, url: str, site: str, *token: str) -> None:
    """Run the client, and check what it saw."""
    command = ["node", str(CLIENTS / "puppeteer.mjs"), way, at(url, grid), site, *token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    saw = json.loads(done.stdout)
    assert "Make the file in the page" in saw.pop("upload")
    assert saw == {"start": "about:blank", "title": "A real page", "isPng": True, "pages": 3}
    assert last_end(grid) == "closed"


@pytest.mark.usefixtures("node_modules")
def test_puppeteer_finds_its_endpoint(grid: Appliance, site: str) -> None:
    use_puppeteer(grid, "browserURL", "http://{}", site)


@pytest.mark.usefixtures("node_modules")
def test_puppeteer_gets_in_with_its_token(guarded: Appliance, site: str) -> None:
    use_puppeteer(guarded, "browserWSEndpoint", "ws://{}/cdp", site, TOKEN)


def test_sessions_see_neither_each_others_pages_nor_cookies(grid: Appliance, playwright: Playwright, site: str) -> None:
    sharing = playwright.chromium.connect(grid.endpoint).new_page()
    first, second = (connect(playwright, grid) for _ in range(2))
    for page in (sharing, first_page(first)):
        page.goto(site)
        page.evaluate("document.cookie = 'secret=1'")
    devtools = second.new_browser_cdp_session()
    found = [target["url"] for target in devtools.send("Target.getTargets")["targetInfos"]]
    assert found == ["about:blank"]
    first_page(second).goto(site)
    assert devtools.send("Storage.getCookies")["cookies"] == []
    for browser in (first, second, sharing.context.browser):
        assert browser
        browser.close()
    nothing_is_left(grid)


def test_a_client_that_closes_its_browser_ends_its_session(grid: Appliance, playwright: Playwright) -> None:
    neighbour = connect(playwright, grid)
    browser = connect(playwright, grid)
    browser.new_browser_cdp_session().send("Browser.close")
    until(lambda: len(grid.state.sessions()) == 1, "it has ended")
    assert "has been closed" in said_to(first_page(browser))
    assert first_page(neighbour).evaluate("6 * 7") == 42
    neighbour.close()
    assert "crashed" not in grid.log("proxy")
    assert last_end(grid) == "closed"


def test_a_session_whose_browser_is_killed_is_told_and_its_neighbours_go_on(
    grid: Appliance, playwright: Playwright
) -> None:
    neighbours = [first_page(connect(playwright, grid)), playwright.chromium.connect(grid.endpoint).new_page()]
    before = grid.browser_pids()
    with Wire(grid.port) as client:
        assert client.get("/cdp", AS_CDP).status == 101
        (pid,) = grid.browser_pids() - before
        os.kill(pid, signal.SIGKILL)
        assert b"the browser of this session crashed (signal 9)" in client.read_to(b"(signal 9)")
    assert [page.evaluate("6 * 7") for page in neighbours] == [42, 42]
    for page in neighbours:
        page.context.browser.close()  # type: ignore[union-attr]
    nothing_is_left(grid)


def test_a_client_that_is_killed_leaves_nothing(grid: Appliance) -> None:
    script = f"""
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    playwright.chromium.connect_over_cdp("{grid.endpoint}/cdp")
    print("ready", flush=True)
    input()
"""
    with killed_client(script):
        assert folders(grid)
    nothing_is_left(grid)


def test_a_client_that_hangs_up_while_its_browser_starts_leaves_none(grid: Appliance) -> None:
    with Wire(grid.port) as client:
        client.socket.sendall(request("/cdp", AS_CDP))
        until(lambda: len(grid.browser_pids()) == 2, "its browser starts")
    nothing_is_left(grid)


def test_a_reserve_begins_with_the_first_session(start_grid: StartGrid, playwright: Playwright) -> None:
    grid = start_grid(RESERVE_BROWSERS=1, MAX_LIFETIME_SESSIONS=0)
    until(lambda: len(grid.browser_pids()) == 2, "one is in reserve for other sessions")
    assert not folders(grid)
    session = connect(playwright, grid)
    until(lambda: len(folders(grid)) == 2, "one is in reserve")
    session.close()
    until(lambda: len(folders(grid)) == 1, "the one that was used is gone")
    (ready,) = folders(grid)
    session = connect(playwright, grid)
    until(lambda: len(folders(grid)) == 2, "another takes its place")
    session.close()
    until(lambda: ready not in folders(grid), "it served that session")
    os.kill(pid_of(folders(grid)[0], grid), signal.SIGKILL)
    until(lambda: not folders(grid), "the reserve is gone")
    session = connect(playwright, grid)
    assert first_page(session).evaluate("6 * 7") == 42
    session.close()


def test_a_browser_that_hangs_in_the_reserve_is_given_to_no_session(
    start_grid: StartGrid, playwright: Playwright
) -> None:
    grid = start_grid(RESERVE_BROWSERS=1, MAX_LIFETIME_SESSIONS=0, LAUNCH_TIMEOUT=10)
    first = connect(playwright, grid)
    until(lambda: len(folders(grid)) == 2, "one is in reserve")
    first.close()
    until(lambda: len(folders(grid)) == 1, "the one that was used is gone")
    (folder,) = folders(grid)
    os.kill(pid_of(folder, grid), signal.SIGSTOP)
    session = connect(playwright, grid)
    until(lambda: folder not in folders(grid), "it is gone")
    assert first_page(session).evaluate("6 * 7") == 42
    session.close()


def test_a_worker_that_cannot_launch_a_browser_says_so(
    start_grid: StartGrid, playwright: Playwright, tmp_path: Path
) -> None:
    program, real = tmp_path / "chromium", browsers.find(Name.CHROMIUM, config.load()).path
    program.symlink_to(real)
    grid = start_grid(CHROMIUM_EXECUTABLE=program, QUEUE_TIMEOUT=1)
    program.unlink()
    with pytest.raises(Error, match="chromium-00 does not serve: it launches no browser: it cannot be started: ENOENT"):
        connect(playwright, grid)
    program.write_text("#!/bin/sh\necho no luck >&2\nexit 3")
    program.chmod(0o755)
    with pytest.raises(Error, match=r"it launches no browser: it crashed \(exit code 3\): no luck"):
        connect(playwright, grid)
    assert not folders(grid)
    program.unlink()
    program.symlink_to(real)
    session = connect(playwright, grid)
    assert first_page(session).evaluate("6 * 7") == 42
    session.close()
    nothing_is_left(grid)


def test_what_is_no_command_is_answered_and_costs_nobody_anything(grid: Appliance) -> None:
    texts = (b"no JSON", b"null", b'{"id":5,"method":"Browser.getVersion"}')
    with Wire(grid.port) as client:
        assert client.get("/cdp", AS_CDP).status == 101
        client.socket.sendall(b"".join(frame(TEXT, text, mask=bytes(4)) for text in texts))
        answers = [json.loads(answer.payload) for answer in (read_frame(client.socket) for _ in texts) if answer]
        assert [answer.get("error", {}).get("code") for answer in answers] == [-32700, -32600, None]
        assert answers[2]["id"] == 5
    nothing_is_left(grid)
    (worker,) = grid.available(1)
    assert "survived" not in grid.log(worker.name)


def test_sessions_wait_in_the_queue_and_hold_slots_as_others_do(start_grid: StartGrid, playwright: Playwright) -> None:
    grid = start_grid(MAX_CONCURRENT_SESSIONS=1, MAX_LIFETIME_SESSIONS=3, QUEUE_TIMEOUT=30)
    (worker,) = grid.state.workers()
    holder = playwright.chromium.connect(grid.endpoint)
    answers: list[int] = []

    def wait() -> None:
        with Wire(grid.port) as client:
            answers.append(client.get("/cdp?name=second", AS_CDP).status)

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: [s.name for s in grid.state.sessions() if s.status == "waiting"] == ["second"], "it waits")
    assert not answers
    holder.close()
    waiting.join()
    assert answers == [101]
    browser = connect(playwright, grid, "http://{}")
    assert first_page(browser).evaluate("6 * 7") == 42
    browser.close()
    assert grid.successor(worker).name == worker.name, "three sessions were its lifetime"


def test_a_session_on_another_appliances_worker_is_driven_and_looked_at(
    start_grid: StartGrid, playwright: Playwright, site: str
) -> None:
    redis = f"127.0.0.1:{free_port()}"
    back = start_grid(REDIS_LISTEN=redis, REDIS_PASSWORD=TOKEN, PRIVATE_HOSTNAME="127.0.0.2", MAX_LIFETIME_SESSIONS=0)
    front = start_grid(REDIS_URL=f"redis://:{TOKEN}@{redis}", CHROMIUM_WORKERS=0)
    browser = connect(playwright, front, "http://{}")
    first_page(browser).goto(site)
    assert first_page(browser).title() == "A real page"
    shared = playwright.chromium.connect(front.endpoint)
    shared.new_page().goto(site)
    for session in back.state.sessions():
        for grid in (front, back):
            with viewer(grid, session.id) as look:
                assert look.picture().startswith(JPEG)
                assert [page["url"] for page in look.pages] == [site]
                assert grid.audit() == []
    shared.close()
    browser.new_browser_cdp_session().send("Browser.close")
    assert last_end(back) == "closed"
    with Wire(front.port) as client:
        assert client.get("/cdp", AS_CDP).status == 101
        os.kill(pid_of(folders(back)[0], back), signal.SIGKILL)
        client.read_to(b"the browser of this session crashed (signal 9)")
    assert last_end(back) == "the browser of this session crashed (signal 9)"


def test_files_are_uploaded_and_downloads_stay_in_the_sessions_folder(
    grid: Appliance, playwright: Playwright, site: str, tmp_path: Path
) -> None:
    (tmp_path / "local.txt").write_text("mine")
    browser = connect(playwright, grid)
    page = first_page(browser)
    page.set_content("<input type=file><a download=x.txt href='data:text/plain,theirs'>download</a>")
    page.set_input_files("input", tmp_path / "local.txt")
    assert page.evaluate("document.querySelector('input').files[0].text()") == "mine"
    page.click("a")
    until(lambda: contents(folders(grid)[0] / "downloads") == ["theirs"], "it is there")
    browser.close()
    nothing_is_left(grid)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ws://{}/cdp?browser=firefox", "CDP sessions have Chromium"),
        ("http://{}/?isolation=context", "A CDP session has a browser of its own"),
        ("ws://{}/cdp?timeout=0", "must be a whole number of seconds"),
        ("ws://{}/", "CDP clients, as connect_over_cdp.* have one at /cdp"),
        ("ws://{}/devtools/page/1", "each CDP connection has a browser of its own"),
    ],
)
def test_what_cannot_be_is_refused_in_words_without_a_slot(
    url: str, sentence: str, grid: Appliance, playwright: Playwright
) -> None:
    nothing_is_left(grid)  # whose end would be an event
    before = grid.state.events()
    with pytest.raises(Error, match=sentence):
        connect(playwright, grid, url)
    assert grid.state.events() == before


def test_playwrights_connect_at_the_endpoint_of_cdp_is_told_where_its_own_is(
    grid: Appliance, playwright: Playwright
) -> None:
    with pytest.raises(Error, match="This is the endpoint of CDP clients") as raised:
        playwright.chromium.connect(f"{grid.endpoint}/cdp")
    assert f'playwright.chromium.connect("{grid.endpoint}")' in raised.value.message.replace("\\", "")


def test_the_version_page_is_open_and_the_lists_of_targets_are_refused(guarded: Appliance) -> None:
    for path in ("/json/version", "/json/version/", "/cdp/json/version"):
        assert guarded.get(f"{path}?token=t")["webSocketDebuggerUrl"] == f"{guarded.endpoint}/cdp?token=t"
    for path in ("/json/list", "/json/protocol", "/json/new?about:blank"):
        for method in ("GET", "PUT"):
            with Wire(guarded.port) as wire:
                answer = wire.get(path, method=method)
                assert (answer.status, "no list of targets" in answer.error["message"]) == (400, True)
    with Wire(guarded.port) as wire:
        assert (answer := wire.get("/cdp")).status == 426
        assert "/cdp" in answer.error["hint"]
