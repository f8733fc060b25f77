"""Where a driver listens: its own socket answers sessions alone, and no client can open another one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Playwright, sync_playwright

from tests.support import certified_site
from tests.support.appliance import Appliance, tree
from tests.support.certificates import Authority, Pair
from tests.support.looks import paths_in
from tests.support.waiting import until

Connect = Callable[[], Browser]

BINDING = pytest.mark.skipif(not hasattr(Browser, "bind"), reason="clients before 1.59 have no browser.bind()")
WAYS_TO_BIND = [{"host": "0.0.0.0", "port": 0}, {"host": "127.0.0.1", "port": 0}, {"port": 0}, {}]
PLAIN = ["GET /json", "GET /", "GET /session", "GET /json/version", "POST /session", "HEAD /json", "OPTIONS *"]

# With TLS 1.3 the server refuses after the handshake: its alert and the end of the connection race each other.
NO_CERTIFICATE = "ERR_BAD_SSL_CLIENT_AUTH_CERT|ERR_SOCKET_NOT_CONNECTED|ERR_CONNECTION_(CLOSED|RESET)"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture
def connect(playwright: Playwright, grid: Appliance, level: str) -> Iterator[Connect]:
    """Open sessions, which end with the test."""
    with ExitStack() as ends:
        yield lambda: ends.enter_context(closing(playwright.chromium.connect(grid.endpoint + level)))


@pytest.fixture
def browser(connect: Connect) -> Browser:
    return connect()


def driver(grid: Appliance) -> psutil.Process:
    return tree(grid.state.workers()[0].pid)["driver"]


def listening(grid: Appliance) -> list[str]:
    """Name what the driver and its browser listen on by TCP."""
    found = []
    for process in [driver(grid), *driver(grid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # a renderer that has just ended
            found += process.net_connections("inet")
    return [f"{one.laddr.ip}:{one.laddr.port}" for one in found if one.status == psutil.CONN_LISTEN]


def ask(grid: Appliance, line: str, *headers: str) -> bytes:
    """Send a request to the driver's socket; returns all that it answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(grid.socket_of(grid.state.workers()[0])))
        connection.sendall("\r\n".join([f"{line} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]).encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_request_to_a_driver_is_answered_404_and_told_nothing(grid: Appliance, line: str) -> None:
    head, _, body = ask(grid, line).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert body in (b"", b"0\r\n\r\n")


def test_an_upgrade_beside_the_sessions_path_is_refused_by_the_driver(grid: Appliance) -> None:
    upgrade = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    answer = ask(grid, "GET /other", "Connection: Upgrade", *upgrade)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_no_driver_and_no_browser_listens_by_tcp(grid: Appliance, browser: Browser) -> None:
    browser.new_page().goto("about:blank")
    assert listening(grid) == []


def test_only_the_grids_own_account_may_connect_to_a_driver(grid: Appliance) -> None:
    path = grid.socket_of(grid.state.workers()[0])
    for one in (path, *list(path.parents)[:3]):
        assert not one.stat().st_mode & 0o007, one


@BINDING
@pytest.mark.parametrize("way", WAYS_TO_BIND, ids=str)
def test_bind_is_refused_and_neither_the_client_nor_its_neighbour_notices(
    grid: Appliance, connect: Connect, browser: Browser, way: dict[str, object]
) -> None:
    neighbour = connect().new_page()
    before = set(sockets_of(grid))
    for client in (browser, neighbour.context.browser):  # also after another has tried
        assert client
        with pytest.raises(Error, match=r"browser\.bind\(\)"):
            client.bind("mine", **way)  # type: ignore[arg-type]
    assert listening(grid) == []
    assert set(sockets_of(grid)) - before == set()
    assert browser.new_page().evaluate("1 + 1") == 2
    assert neighbour.evaluate("2 + 2") == 4
    assert grid.audit() == []


def sockets_of(grid: Appliance) -> list[str]:
    """Name the unix sockets that lie in the worker's folder."""
    folder = grid.socket_of(grid.state.workers()[0]).parent
    return [str(path) for path in paths_in(folder) if path.is_socket()]


@BINDING
def test_an_unbind_by_another_session_changes_nothing(grid: Appliance, connect: Connect, browser: Browser) -> None:
    page = browser.new_page()
    other = connect()
    with suppress(Error):  # it may be refused, or have no effect
        other.unbind()
    assert page.evaluate("1 + 1") == 2


def test_a_signal_opens_no_debugger_in_the_driver(grid: Appliance, browser: Browser) -> None:
    page = browser.new_page()
    driver(grid).send_signal(signal.SIGUSR1)
    assert page.evaluate("1 + 1") == 2  # after which the driver has seen the signal
    assert listening(grid) == []


# ── Client certificates need a proxy in the driver ────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certified"))


@pytest.fixture(scope="module")
def certified(authority: Authority) -> Iterator[str]:
    with certified_site.serve(authority) as origin:
        yield origin


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("client", "client.test")


def context_with(browser: Browser, origin: str, pair: Pair) -> BrowserContext:
    certificate = {"origin": origin, "certPath": pair.certificate, "keyPath": pair.key}
    return browser.new_context(ignore_https_errors=True, client_certificates=[certificate])  # type: ignore[list-item]


def test_a_client_certificate_lets_in_pages_and_requests_of_its_session_alone(
    grid: Appliance, connect: Connect, browser: Browser, certified: str, pair: Pair
) -> None:
    context = context_with(browser, certified, pair)
    page = context.new_page()
    page.goto(certified)
    assert page.title() == "for the certified"
    assert context.request.get(certified).ok
    other = connect()
    with pytest.raises(Error, match=NO_CERTIFICATE):
        other.new_context(ignore_https_errors=True).new_page().goto(certified)


def test_the_proxy_for_client_certificates_is_where_no_other_session_finds_it(
    grid: Appliance, connect: Connect, browser: Browser, certified: str, pair: Pair
) -> None:
    until(lambda: listening(grid) == [], "those of earlier tests are gone")
    contexts = [context_with(browser, certified, pair) for _ in range(2)]
    places = [place.rsplit(":", 1) for place in listening(grid)]
    assert len({address for address, _ in places}) == 2
    assert all(address.startswith("127.") and int(address.split(".")[1]) >= 128 for address, _ in places)
    other = connect()
    for _, port in places:
        guessed = other.new_context(ignore_https_errors=True, proxy={"server": f"socks5://127.0.0.1:{port}"})
        with pytest.raises(Error, match="ERR_PROXY_CONNECTION_FAILED"):
            guessed.new_page().goto(certified)
    assert grid.audit() == []
    for context in contexts:
        context.close()
    until(lambda: listening(grid) == [], "with their contexts, the proxies are gone")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
def test_the_proxy_for_client_certificates_serves_no_other_account(
    grid: Appliance, browser: Browser, certified: str, pair: Pair
) -> None:
    context = context_with(browser, certified, pair)
    (place,) = listening(grid)
    command = ["curl", "--silent", "--insecure", "--max-time", "20", "--proxy", f"socks5://{place}", certified]
    as_other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    assert b"certified" in subprocess.run(command, capture_output=True, check=False).stdout
    assert subprocess.run([*as_other, *command], capture_output=True, check=False).stdout == b""
    context.close()


def test_a_folder_that_cannot_be_opened_stops_no_worker(grid: Appliance) -> None:
    (worker,) = grid.available(1)
    folder: Path = grid.socket_of(worker).parents[1]
    closed = folder / "aaaaaa"
    closed.mkdir(mode=0)
    (folder / "bbbbbb").mkdir()
    (folder / "bbbbbb" / "lock").mkdir()  # not even root opens this for writing
    grid.applctl("restart", "chromium-00")
    grid.successor(worker)
    until(lambda: "workspace.not_opened" in grid.log("chromium-00"), "it is logged")
    (folder / "bbbbbb" / "lock").rmdir()
    (folder / "bbbbbb").rmdir()
