"""A CDP session has its browser, and nothing else of the machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Browser, CDPSession, Error, Playwright

from tests.support.appliance import Appliance, tree
from tests.support.frames import TEXT, frame, read_frame
from tests.support.waiting import until
from tests.support.wire import UPGRADE, Wire

FETCH = "url => fetch(url).then(answer => answer.text()).catch(() => 'refused')"


class RawDevTools:
    """A client that keeps to no rules but those of frames."""

    def __init__(self, grid: Appliance) -> None:
        self._wire = Wire(grid.port)
        self._calls = 0
        headers = {name: value for name, value in UPGRADE.items() if not name.startswith("x-playwright")}
        assert self._wire.get("/cdp", headers).status == 101

    def __enter__(self) -> RawDevTools:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.socket.close()

    def call(self, method: str, session: str | None = None, **params: object) -> dict[str, Any]:
        """Send a command, and wait for its result."""
        self._calls += 1
        command = {"id": self._calls, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._wire.socket.sendall(frame(TEXT, json.dumps(command).encode(), mask=bytes(4)))
        while answer := read_frame(self._wire.socket):
            message: dict[str, Any] = json.loads(answer.payload)
            if message.get("id") == self._calls:
                return dict(message["result"])
        raise AssertionError("the session has ended")


@pytest.fixture
def browser(grid: Appliance, clients: Playwright) -> Iterator[Browser]:
    browser = clients.chromium.connect_over_cdp(f"{grid.endpoint}/cdp")
    yield browser
    browser.close()


@pytest.fixture
def devtools(browser: Browser) -> CDPSession:
    return browser.new_browser_cdp_session()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.txt"
    file.write_text("SECRET")
    return file


def descendants(grid: Appliance) -> list[psutil.Process]:
    """Return the driver and all of its browsers' processes."""
    driver = tree(grid.state.workers()[0].pid)["driver"]
    return [driver, *driver.children(recursive=True)]


def test_its_browser_has_no_debugging_port(grid: Appliance, browser: Browser) -> None:
    listening, arguments = [], []
    for process in descendants(grid):
        with suppress(psutil.NoSuchProcess):
            listening += [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
            arguments += process.cmdline()
    assert listening == []
    assert "--remote-debugging-pipe" in arguments
    assert not [one for one in arguments if one.startswith(("--remote-debugging-port", "--remote-debugging-address"))]


def test_a_page_opens_no_session(grid: Appliance, browser: Browser, site: str) -> None:
    page = browser.contexts[0].pages[0]
    page.goto(site)
    for path in ("cdp", "devtools/browser/1"):
        opened = page.evaluate(
            "url => new Promise(done => Object.assign(new WebSocket(url), "
            "{onopen: () => done('open'), onerror: () => done('refused')}))",
            f"ws://127.0.0.1:{grid.port}/{path}",
        )
        assert opened == "refused"
    assert page.evaluate(FETCH, f"http://127.0.0.1:{grid.port}/json/version") == "refused"
    assert len(grid.state.sessions()) == 1  # its own


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("Tethering.bind", {"port": 0}),
        ("Target.setRemoteLocations", {"locations": [{"host": "127.0.0.1", "port": 6379}]}),
        ("Target.exposeDevToolsProtocol", {"targetId": "T"}),
        ("Target.sendMessageToTarget", {"message": "{}", "sessionId": "S"}),
        ("Extensions.loadUnpacked", {"path": "/tmp"}),
        ("Browser.executeBrowserCommand", {"commandId": "openTabSearch"}),
        ("SystemInfo.unknown", {}),
    ],
)
def test_commands_to_the_machine_do_nothing(devtools: CDPSession, method: str, params: dict[str, object]) -> None:
    with pytest.raises(Error, match=r"to the grid's machine|wasn't found"):
        devtools.send(method, params)


def test_no_command_opens_a_file(browser: Browser, devtools: CDPSession, secret: Path, site: str) -> None:
    page = browser.contexts[0].pages[0]
    page.goto(site)
    cdp, url = page.context.new_cdp_session(page), f"file://{secret}"
    tries = [
        (cdp, "Page.navigate", {"url": url}),
        (cdp, "Page.navigate", {"url": f"view-source:{url}"}),
        (
            cdp,
            "Network.loadNetworkResource",
            {"url": url, "options": {"disableCache": True, "includeCredentials": True}},
        ),
        (devtools, "Target.createTarget", {"url": url}),
    ]
    for session, method, params in tries:
        with pytest.raises(Error, match="does not open file: addresses"):
            session.send(method, params)
    node = cdp.send("DOM.querySelector", {"nodeId": cdp.send("DOM.getDocument")["root"]["nodeId"], "selector": "input"})
    with pytest.raises(Error, match="would be read from the grid's machine"):
        cdp.send("DOM.setFileInputFiles", {"files": [str(secret)], "nodeId": node["nodeId"]})
    data = {"items": [], "files": [str(secret)], "dragOperationsMask": 1}
    with pytest.raises(Error, match="must not name files"):
        cdp.send("Input.dispatchDragEvent", {"type": "drop", "x": 1, "y": 1, "data": data})


def test_an_origin_with_access_to_all_others_reads_no_file(grid: Appliance, secret: Path, site: str) -> None:
    origin = f"http://{urlsplit(site).netloc}"
    with RawDevTools(grid) as client:
        context = client.call("Target.createBrowserContext", originsWithUniversalNetworkAccess=[origin])
        target = client.call("Target.createTarget", url=site, browserContextId=context["browserContextId"])
        session = client.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]

        def evaluated(expression: str) -> object:
            asked = {"expression": expression, "awaitPromise": True}
            return client.call("Runtime.evaluate", session, **asked)["result"]["value"]

        until(lambda: evaluated("document.title") == "A real page", "the page is there")
        assert evaluated(f"({FETCH})('file://{secret}')") == "refused"
        assert evaluated(f"({FETCH})('{site}')") != "refused"


@pytest.mark.parametrize("address", ["chrome://version", "devtools://devtools/bundled/inspector.html"])
def test_the_browsers_own_pages_are_not_opened(browser: Browser, devtools: CDPSession, address: str) -> None:
    for session, method in ((devtools, "Target.createTarget"), (devtools, "Target.openDevTools")):
        with pytest.raises(Error, match=r"This grid opens no|to the grid's machine"):
            session.send(method, {"url": address})
    with pytest.raises(Error, match="This grid opens no"):
        browser.contexts[0].pages[0].goto(address)


@pytest.mark.parametrize("method", ["Browser.setDownloadBehavior", "Page.setDownloadBehavior"])
def test_a_download_goes_to_no_folder_of_the_clients_choice(
    grid: Appliance, browser: Browser, devtools: CDPSession, method: str, tmp_path: Path
) -> None:
    page = browser.contexts[0].pages[0]
    session = devtools if method.startswith("Browser") else page.context.new_cdp_session(page)
    session.send(method, {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.set_content("<a download=x.txt href='data:text/plain,x'>download</a>")
    page.click("a")
    workspace = grid.socket_of(grid.state.workers()[0]).parent
    until(lambda: list(workspace.glob("tmp/cdp-*/downloads/*")), "it is in the session's folder")
    assert list(tmp_path.iterdir()) == []
