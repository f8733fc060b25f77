"""A session with a browser of its own reaches neither the machine nor another session by it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Error, Playwright

from tests.support.appliance import Appliance, tree
from tests.support.raw_client import RawClient
from tests.support.waiting import until
from tests.support.wire import UPGRADE

OWN = "/?isolation=browser"
REFUSAL = r"This grid (opens no|does not open) [a-z]+: addresses"


@pytest.fixture
def browser(grid: Appliance, clients: Playwright) -> Iterator[Browser]:
    with clients.chromium.connect(grid.endpoint + OWN) as browser:
        yield browser


def test_a_context_for_reuse_writes_no_file_outside_its_session(grid: Appliance, tmp_path: Path) -> None:
    with RawClient(grid, OWN) as client:
        browser = client.guid("Browser")
        video = {"dir": str(tmp_path), "size": {"width": 100, "height": 100}}
        context = client.call(browser, "newContextForReuse", recordVideo=video)["context"]["guid"]
        assert "page" in client.call(context, "newPage")
        client.call(context, "close")
        again = client.call(browser, "newContextForReuse", acceptDownloads="internal-browser-default")
        assert "on the grid's machine" in again["error"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["devtools://devtools/bundled/inspector.html", "chrome://net-export", "file:///"])
def test_no_page_is_opened_that_reads_or_writes_files(browser: Browser, address: str) -> None:
    with pytest.raises(Error, match=REFUSAL):
        browser.new_page().goto(address)
    with pytest.raises(Error, match=REFUSAL):
        browser.new_browser_cdp_session().send("Target.createTarget", {"url": address})


def test_a_request_that_a_worker_cannot_read_is_refused_and_leaves_no_connection(grid: Appliance) -> None:
    (worker,) = grid.state.workers()
    wrong = UPGRADE | {"Isolation": "browser", "x-playwright-launch-options": '{"slowMo": Infinity}'}
    lines = ["GET /session HTTP/1.1", "Host: driver", *(f"{name}: {value}" for name, value in wrong.items()), "", ""]
    with socket.socket(socket.AF_UNIX) as proxy:
        proxy.settimeout(20)
        proxy.connect(str(grid.socket_of(worker)))
        proxy.sendall("\r\n".join(lines).encode())
        answer = proxy.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"The header x-playwright-launch-options is no JSON." in answer
        assert grid.lasting_differences() == []


def test_a_connection_that_is_made_after_its_session_is_closed(grid: Appliance, clients: Playwright) -> None:
    """A driver connects for a browser with a client's network, too, to hosts that are not the client's."""
    (worker,) = grid.state.workers()
    driver = tree(worker.pid)["driver"]

    def connections() -> list[str]:
        return [one.status for one in driver.net_connections("tcp") if one.raddr and one.raddr.port == port]

    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # no more are answered now
            browser = clients.chromium.connect(grid.endpoint, expose_network="a-name.test")
            page = browser.new_page()
            page.evaluate("port => void fetch(`http://127.0.0.1:${port}`, { mode: 'no-cors' })", port)
            until(lambda: connections() == [psutil.CONN_SYN_SENT], "the driver connects")
            browser.close()
            until(lambda: not grid.state.sessions(), "the session has ended")
            accepted = [server.accept()[0]]
            until(lambda: psutil.CONN_SYN_SENT not in connections(), "the driver is answered")
            until(lambda: not connections(), "the connection is closed")
            accepted.clear()
