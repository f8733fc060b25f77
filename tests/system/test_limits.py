"""Whatever is sent to the port: it is answered with a sentence or closed, and the proxy stays what it was."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import psutil
import pytest
from playwright.sync_api import Error, sync_playwright

from appliance.grid.values import WorkerSpec
from appliance.machine import kernel
from appliance.names import Browser
from tests.support.appliance import Appliance, tree
from tests.support.driver_socket import listening
from tests.support.waiting import until
from tests.support.wire import UPGRADE, Answer, Wire, request

REQUEST_TIMEOUT_S = 5
UNHEARD_MAX = 1024  # proxy/proxy.py


@pytest.fixture(scope="module")
def grid() -> Iterator[Appliance]:
    """Provide an appliance that trusts this machine as a load balancer; a name leads its browser to the proxy."""
    settings = {
        "MAX_LIFETIME_SESSIONS": 0,
        "MAX_CONNECTIONS_PER_CLIENT": 3,
        "REQUEST_TIMEOUT": REQUEST_TIMEOUT_S,
        "TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8",
        "ALLOW_ANONYMOUS": "true",  # what comes through a load balancer needs a token otherwise
        "BROWSER_ARGS": "'--host-resolver-rules=MAP rebound.test 127.0.0.1'",
    }
    with Appliance(**settings) as grid:
        yield grid


def connect(grid: Appliance) -> socket.socket:
    return socket.create_connection(("127.0.0.1", grid.port), timeout=30)


def ask(grid: Appliance, data: bytes) -> Answer:
    """Send bytes; return the answer, after which the connection is closed."""
    with Wire(grid.port) as wire:
        wire.socket.sendall(data)
        answer = wire.answer(has_body=not data.startswith(b"HEAD"))
        assert wire.is_closed()
    return answer


def upgrade(target: str = "/", line: str = "", **headers: str) -> bytes:
    """Return a request for a session with other headers (_ for -), or another line in place of its first."""
    data = request(target, UPGRADE | {name.replace("_", "-"): value for name, value in headers.items()})
    return line.encode() + data[data.index(b"\r\n") :] if line else data


# What else the parser refuses, tests/unit/test_request.py has.
MALFORMED = {
    "nonsense": b"nonsense\r\n\r\n",
    "HTTP/1.0": upgrade(line="GET / HTTP/1.0"),
    "HEAD": upgrade(line="HEAD / HTTP/1.1"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "body": upgrade(Content_Length="5") + b"hello",
    "chunks": upgrade(Transfer_Encoding="chunked") + b"0\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_upgrade_is_told_what_is_wrong(data: bytes, grid: Appliance) -> None:
    answer = ask(grid, data)
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert data.startswith(b"HEAD") or answer.error["message"]  # RFC 9110, section 9.3.2: no body for HEAD
    assert "Traceback" not in grid.log("proxy")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (upgrade(X_A="a" * 17000), 431),
        (upgrade(line="POST / HTTP/1.1"), 405),
        (request("/json", {"Origin": "null"}), 403),
        (request("/metrics", {}).replace(b"Host: grid", b"Host: evil.example"), 403),
    ],
)
def test_other_refusals_have_their_own_status(data: bytes, status: int, grid: Appliance) -> None:
    answer = ask(grid, data)
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert answer.error["message"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "data",
    [
        upgrade("/?name=a%20%C3%A9&browser=chrom%69um", Connection="keep-alive, Upgrade", Upgrade="WEBSOCKET, foo"),
        upgrade(User_Agent="caf\xe9", X_A="a" * 15000).replace(b"Host: grid", b"Host: any.name.example"),
        upgrade() + b"\x88\x80\x00\x00\x00\x00",  # with a Close frame right behind it
    ],
)
def test_what_is_unusual_but_right_gets_a_session(data: bytes, grid: Appliance) -> None:
    with Wire(grid.port) as wire:
        wire.socket.sendall(data)
        assert wire.answer().status == 101


def test_a_request_that_trickles_in_is_refused_in_time(grid: Appliance) -> None:
    with connect(grid) as connection:
        started = time.monotonic()
        connection.settimeout(0.1)
        received = b""
        for byte in upgrade(X_A="a" * 1000):
            connection.send(bytes([byte]))
            try:
                received = connection.recv(65536)
                break
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408 ")
        assert REQUEST_TIMEOUT_S <= time.monotonic() - started < 100  # which sending all of it takes


def test_idle_connections_keep_nobody_out_and_go_in_time(grid: Appliance) -> None:
    kernel.allow_open_files()
    process = grid.process("proxy")
    before = process.num_fds()
    with ExitStack() as to_be_closed:
        idle = [to_be_closed.enter_context(connect(grid)) for _ in range(UNHEARD_MAX + 100)]
        assert grid.get("/healthz")["status"] == "ok"
        assert idle[0].recv(1) == b""  # the oldest one made room
        until(
            lambda: process.num_fds() <= before + UNHEARD_MAX + 2,
            "those that were cut are closed",
            REQUEST_TIMEOUT_S - 2,
        )
        until(lambda: process.num_fds() <= before + 2, "the idle connections are closed")


def test_one_client_has_so_many_connections_and_is_known_by_its_own_address(grid: Appliance) -> None:
    with ExitStack() as to_be_closed:
        for _ in range(3):
            wire = to_be_closed.enter_context(Wire(grid.port))
            assert wire.upgrade(X_Forwarded_For="9.9.9.9, 1.2.3.4, 10.1.1.1").status == 101
        until(lambda: {session.client for session in grid.state.sessions()} == {"1.2.3.4"}, "no other is left")
        answer = ask(grid, upgrade(X_Forwarded_For="1.2.3.4"))
        assert (answer.status, answer.headers["retry-after"]) == (429, "5")
        assert answer.error["message"].startswith("1.2.3.4 already has 3 sessions")
        assert to_be_closed.enter_context(Wire(grid.port)).upgrade(X_Forwarded_For="1.2.3.5").status == 101
    until(lambda: not grid.state.sessions(), "the sessions are over")


class FloodingWorker(threading.Thread):
    """A worker of WebKit that sends one client as much as it takes."""

    def __init__(self, grid: Appliance) -> None:
        super().__init__(daemon=True)
        self.sent, self.state = 0, grid.state
        appliance, name = str(grid.env["APPLIANCE_NAME"]), "webkit-00"
        worker_id = f"{appliance}.{name}.abcdef"
        self._spec = WorkerSpec(
            worker_id, Browser.WEBKIT, "1.65.0", appliance, name, 1, 0, ttl_ms=60_000, pid=os.getpid()
        )
        self._ends, self._run_dir = ExitStack(), grid.run_dir

    def __enter__(self) -> FloodingWorker:
        self._listener = self._ends.enter_context(listening(self._run_dir, self._spec.id))
        self.state.register_worker(self._spec)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.state.remove_worker(self._spec.id, "the test is over")
        self._ends.close()
        self.join(10)

    def run(self) -> None:
        connection, _ = self._listener.accept()
        frame = b"\x82\x7f" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20)
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            try:
                while True:
                    self.sent += connection.send(frame[self.sent % len(frame) :])
            except OSError:  # the session has ended
                return


def test_a_client_that_never_reads_costs_no_memory(grid: Appliance) -> None:
    process = grid.process("proxy")
    before = process.memory_info().rss
    with FloodingWorker(grid) as worker, closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(("127.0.0.1", grid.port))
        client.sendall(upgrade("/?browser=webkit"))
        looks: list[int] = []

        def stands_still() -> bool:
            looks.append(worker.sent)
            return len(looks) > 10 and looks[-10] == looks[-1] > 0

        until(stands_still, "the worker can send no more", every_s=0.05)
        assert worker.sent < 32 * 2**20  # what lies in the kernel's buffers
        assert process.memory_info().rss < before + 4 * 2**20
        client.settimeout(30)
        taken = 0
        while taken < 300 * 2**20:  # and when it reads after all, all comes
            taken += len(client.recv(2**20))
        assert process.memory_info().rss < before + 4 * 2**20
    until(lambda: not grid.state.sessions(), "the session is over")


def test_the_proxy_may_open_as_many_files_as_the_machine_allows(grid: Appliance) -> None:
    soft, hard = grid.process("proxy").rlimit(psutil.RLIMIT_NOFILE)
    assert soft == hard


def test_a_page_inside_the_grids_browser_gets_nowhere(grid: Appliance, site: str) -> None:
    """By a WebSocket, by a fetch, and by DNS rebinding: as its own host's name leads to the proxy."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint)
        page = browser.new_page()
        page.goto(site)
        opened = page.evaluate(
            """url => new Promise(done => { const socket = new WebSocket(url);
            socket.onopen = () => done('open'); socket.onerror = () => done('refused') })""",
            grid.endpoint,
        )
        assert opened == "refused"
        for path in ("/json", "/metrics", "/api/v1/capacity"):
            with pytest.raises(Error, match="Failed to fetch"):
                page.evaluate("url => fetch(url).then(answer => answer.text())", f"http://127.0.0.1:{grid.port}{path}")
        answer = page.goto(f"http://rebound.test:{grid.port}/")
        assert answer
        assert answer.status == 426  # so the name does lead here
        for path in ("/metrics", "/api/v1/capacity"):
            assert page.evaluate("path => fetch(path).then(answer => answer.status)", path) == 403
        assert (
            page.evaluate(
                """url => new Promise(done => { const socket = new WebSocket(url);
            socket.onopen = () => done('open'); socket.onerror = () => done('refused') })""",
                f"ws://rebound.test:{grid.port}/",
            )
            == "refused"
        )
        browser.close()
    until(lambda: grid.log("proxy").count("403") >= 5, "they are logged")


def test_what_is_refused_leaves_nothing_behind(grid: Appliance) -> None:
    process = grid.process("proxy")
    before = process.num_fds()
    for data in [*MALFORMED.values()] * 3:
        ask(grid, data)
    until(lambda: process.num_fds() <= before, "the descriptors are free")
    assert not grid.state.sessions()


def test_clients_that_reconnect_are_limited_too(grid: Appliance) -> None:
    query = "/?session=cart&keep=0"
    with ExitStack() as connections:
        first = connections.enter_context(Wire(grid.port))
        assert first.upgrade(query).status == 101
        (session,) = grid.state.sessions()
        (pid,) = [worker.pid for worker in grid.state.workers() if worker.id == session.worker]
        driver = tree(pid)["driver"]
        knocking = [connections.enter_context(Wire(grid.port)) for _ in range(4)]
        driver.suspend()  # so that all of them are being served
        try:
            for wire in knocking:
                wire.socket.sendall(request(query))
            until(lambda: select.select([wire.socket for wire in knocking], [], [], 0)[0], "one is refused")
        finally:
            driver.resume()
        assert sorted(wire.answer(has_body=False).status for wire in knocking) == [101, 101, 101, 429]
