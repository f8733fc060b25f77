"""The wire, row by row of the request table: status, headers, body, and what becomes of the connection."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import sync_playwright

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.names import Browser
from tests.support.appliance import Appliance
from tests.support.frames import frames
from tests.support.recording_worker import ACCEPTED, RecordingWorker
from tests.support.redis_relay import RedisRelay, redis_relay
from tests.support.redis_server import redis_server
from tests.support.relay import relay_to
from tests.support.waiting import until
from tests.support.wire import Answer, Wire, request

QUEUE_TIMEOUT_S = 4  # long enough for whoever comes meanwhile, also on a busy machine
REDIS_RETRY_MAX_S = 3.0


@pytest.fixture(scope="module")
def relayed() -> Iterator[tuple[Appliance, RedisRelay]]:
    """Run an appliance with one slot and one place in its queue, whose Redis can be taken away."""
    with redis_server() as url, redis_relay(url) as relay:
        settings = {"MAX_CONCURRENT_SESSIONS": 1, "QUEUE_MAX_LENGTH": 1, "QUEUE_TIMEOUT": QUEUE_TIMEOUT_S}
        settings |= {"MAX_LIFETIME_SESSIONS": 0, "ALLOW_ANONYMOUS": True, "SHUTDOWN_GRACE": 30}
        with Appliance(REDIS_URL=relay.url, **settings) as grid:
            grid.state = Grid(Store(url, "grid"))
            yield grid, relay


@pytest.fixture
def grid(relayed: tuple[Appliance, RedisRelay]) -> Appliance:
    """Provide the appliance, whose slot is free."""
    grid = relayed[0]
    until(lambda: not grid.state.sessions(), "all slots are free")
    grid.available(1)
    return grid


@pytest.fixture
def wire(grid: Appliance) -> Iterator[Wire]:
    """Provide a connection to the appliance."""
    with Wire(grid.port) as wire:
        yield wire


@pytest.fixture
def firefox(grid: Appliance) -> Iterator[RecordingWorker]:
    """Provide a worker that records what reaches it."""
    with RecordingWorker(grid, Browser.FIREFOX) as worker:
        yield worker


def refused(wire: Wire, answer: Answer, status: int, message: str, hint: str) -> None:
    """Check a refusal of a session: what it says, and that the connection is closed after it."""
    assert answer.status == status
    assert message in answer.error["message"]
    assert hint in answer.error["hint"]
    assert answer.headers["connection"] == "close"
    assert wire.is_closed()


# ── Sessions ──────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_word_of_a_browser_the_default_is_served_and_recorded(grid: Appliance, wire: Wire) -> None:
    answer = wire.upgrade(User_Agent="Playwright/1.65.0 (x64; test)")
    assert (answer.status, answer.headers["upgrade"].lower()) == (101, "websocket")
    assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    (session,) = grid.state.sessions()
    assert (session.browser, session.minor, session.name, session.client) == ("chromium", "1.65", "", "127.0.0.1")
    assert session.user_agent == "Playwright/1.65.0 (x64; test)"


def test_the_clients_own_header_names_the_browser(grid: Appliance, wire: Wire, firefox: RecordingWorker) -> None:
    assert wire.upgrade(x_playwright_browser="firefox").status == 101
    assert [session.worker for session in grid.state.sessions()] == [firefox.id]


def test_the_query_names_the_browser_before_the_header_and_a_label(grid: Appliance, wire: Wire) -> None:
    assert wire.upgrade("/?browser=chromium&name=check%20out%C3%A9", x_playwright_browser="firefox").status == 101
    (session,) = grid.state.sessions()
    assert (session.browser, session.name) == ("chromium", "check outé")


def test_a_user_agent_that_is_no_playwrights_suits_any_version(grid: Appliance, wire: Wire) -> None:
    assert wire.upgrade(User_Agent="Mozilla/5.0 Playwright/1.40.0").status == 101
    assert grid.state.sessions()[0].minor == ""


# ── Refusals ──────────────────────────────────────────────────────────────────────────────────────────


def test_without_an_upgrade_a_person_is_told_the_endpoint_by_the_name_used(wire: Wire) -> None:
    answer = wire.get("/")
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    assert "Playwright client" in answer.error["message"]
    assert 'connect("ws://grid")' in answer.error["hint"]
    assert wire.is_closed()


def test_an_unknown_browser_is_refused_with_those_that_there_are(wire: Wire) -> None:
    refused(wire, wire.upgrade("/?browser=netscape"), 400, "Unknown browser 'netscape'", "chromium, firefox, webkit")


def test_a_browser_that_nobody_serves_is_refused(wire: Wire) -> None:
    refused(wire, wire.upgrade("/?browser=webkit"), 400, "This grid serves no webkit", "WEBKIT_WORKERS")


def test_another_websocket_version_is_refused_with_the_right_one(wire: Wire) -> None:
    answer = wire.upgrade(Sec_WebSocket_Version="8")
    assert answer.headers["sec-websocket-version"] == "13"  # RFC 6455, section 4.4
    refused(wire, answer, 400, "version must be 13", "Playwright client")


def test_a_bad_key_is_refused(wire: Wire) -> None:
    refused(wire, wire.upgrade(Sec_WebSocket_Key="é" * 24), 400, "16 bytes in base64", "Playwright client")


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://127.0.0.1"])
def test_a_web_page_is_refused(origin: str, grid: Appliance, wire: Wire) -> None:
    refused(wire, wire.upgrade(Origin=origin), 403, "Web pages must not use", "Playwright client")
    assert not grid.state.sessions()


def test_a_session_is_only_at_the_root(wire: Wire) -> None:
    refused(wire, wire.upgrade("/room"), 404, "There are no sessions at /room.", "Connect to /")


def test_a_version_that_nobody_serves_is_refused_at_once_with_those_that_are(wire: Wire) -> None:
    started = time.monotonic()
    answer = wire.upgrade(User_Agent="Playwright/1.40.0 (x64; debian 12) node/20")
    assert time.monotonic() - started < QUEUE_TIMEOUT_S
    refused(wire, answer, 428, "No chromium worker serves Playwright 1.40. Served: 1.65.", "@playwright/test@1.65")


def test_a_full_grid_refuses_after_a_wait_and_at_once_when_its_queue_is_full(grid: Appliance) -> None:
    with Wire(grid.port) as holder, Wire(grid.port) as waiter, Wire(grid.port) as late:
        assert holder.upgrade().status == 101
        started = time.monotonic()
        waiter.socket.sendall(request())
        until(lambda: len(grid.state.sessions()) == 2, "a client waits")
        answer = late.upgrade()
        assert int(answer.headers["retry-after"]) > 0
        refused(late, answer, 429, "1 clients already wait", "QUEUE_MAX_LENGTH")
        answer = waiter.answer()
        assert time.monotonic() - started >= QUEUE_TIMEOUT_S
        assert int(answer.headers["retry-after"]) > 0
        refused(waiter, answer, 503, f"No chromium slot came free within {QUEUE_TIMEOUT_S} s", "QUEUE_TIMEOUT")


# ── The pages ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("target", ["/json", "/json/", "/json?browser=chromium&name=n"])
def test_json_names_the_path_to_which_clients_add_their_query(target: str, wire: Wire) -> None:
    answer = wire.get(target)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == b'{"wsEndpointPath": "/"}'


def test_the_query_of_an_http_url_survives_with_a_real_client(grid: Appliance) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(f"http://127.0.0.1:{grid.port}?browser=chromium&name=label")
        assert [session.name for session in grid.state.sessions()] == ["label"]
        browser.close()


PAGES = {"/healthz": "application/json", "/readyz": "application/json", "/metrics": "text/plain"}


@pytest.mark.parametrize("target", PAGES)
def test_the_pages_are_there_for_get_and_head(target: str, grid: Appliance) -> None:
    for method in ("GET", "HEAD"):
        with Wire(grid.port) as wire:
            answer = wire.get(target, method=method)
            assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, PAGES[target])
            assert bool(answer.body) == (method == "GET")
            assert wire.is_closed()


@pytest.mark.parametrize(("headers", "status"), [(99, 200), (100, 431)])
def test_a_page_is_there_for_as_many_headers_as_are_allowed(headers: int, status: int, wire: Wire) -> None:
    assert wire.get("/healthz", {f"X-{number}": "" for number in range(headers - 1)}).status == status  # with Host


def test_an_unknown_page_is_refused_with_those_that_there_are(wire: Wire) -> None:
    answer = wire.get("/nothing")
    assert answer.status == 404
    assert {"/readyz", "/dashboard", "/api/v1/openapi.json"} <= set(re.findall(r"/[\w/.]*\w", answer.error["hint"]))
    assert wire.is_closed()


# ── The worker's side ─────────────────────────────────────────────────────────────────────────────────

KEPT = {
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits, x-unknown",
    "Sec-WebSocket-Protocol": "one, two",
    "User-Agent": "Playwright/1.65.9 (arm64; somewhere 1.0) python/3.99",
    "x-playwright-launch-options": '{"a": [1, "é"]}',
    "X-Playwright-Anything": "",
}
DROPPED = {
    "Origin": "",
    "Cookie": "secret=1",
    "X-Forwarded-For": "10.1.2.3",
    "X-Secret": "secret",
}


def test_the_worker_is_sent_what_the_driver_looks_at_unchanged_and_nothing_else(
    wire: Wire, grid: Appliance, firefox: RecordingWorker
) -> None:
    upgrade = {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"}
    assert wire.get("/?browser=firefox&name=secret", upgrade | KEPT | DROPPED).status == 101
    head, _, rest = firefox.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert (first, rest) == ("GET /session HTTP/1.1", b"")
    (session,) = grid.state.sessions()
    expected = {"Host": "driver", "Connection": "Upgrade", "Upgrade": "websocket", "session": session.id} | KEPT
    assert sorted(lines) == sorted(f"{name}: {value}" for name, value in expected.items())


def test_the_workers_101_comes_back_byte_by_byte_with_the_log_of_the_session(
    wire: Wire, firefox: RecordingWorker
) -> None:
    firefox.answer_with = ACCEPTED + b"\x81\x02hi"  # a frame in the same packet
    wire.socket.sendall(request("/?browser=firefox"))
    received = wire.read_to(b"\x81\x02hi")
    named, waited = rb"session \w+ on \S+\.recording-firefox\.abcdef", rb"waited \d+ ms[^\r]*"
    added = rb"x-playwright-debug-log: " + named + rb"\r\nx-playwright-debug-log: " + waited
    assert re.sub(added + rb"\r\n", b"", received) == firefox.answer_with
    assert re.search(added, received)


def test_a_worker_that_is_just_ending_is_left_for_another_unnoticed_by_the_client(
    wire: Wire, grid: Appliance, firefox: RecordingWorker
) -> None:
    """A driver whose browser has ended answers so while it closes (ws, lib/websocket-server.js, completeUpgrade)."""
    with RecordingWorker(grid, Browser.FIREFOX, "ending") as ending:
        ending.answer_with = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        assert wire.upgrade("/?browser=firefox").status == 101
        assert len(ending.requests) == 1
        (session,) = grid.state.sessions()
        assert session.worker == firefox.id


@pytest.mark.parametrize("status", ["428 Precondition Required", "400 Bad Request"])
def test_a_refusal_of_the_worker_comes_back_with_its_body(
    status: str, wire: Wire, grid: Appliance, firefox: RecordingWorker
) -> None:
    firefox.answer_with = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 14\r\n\r\nsaid by driver".encode()
    answer = wire.upgrade("/?browser=firefox")
    assert (answer.status, answer.body) == (int(status[:3]), b"said by driver")
    assert wire.is_closed()
    until(lambda: not grid.state.sessions(), "the slot is free")


def test_a_client_that_resets_before_its_answer_is_no_fault_and_leaves_no_session(
    grid: Appliance, firefox: RecordingWorker
) -> None:
    firefox.may_answer.clear()
    gone = grid.log("proxy").count("client.gone")
    with Wire(grid.port) as wire:
        wire.socket.sendall(request("/?browser=firefox"))
        until(lambda: firefox.requests, "the worker is asked")
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    firefox.may_answer.set()
    until(lambda: grid.log("proxy").count("client.gone") > gone, "the proxy notices")
    until(lambda: not grid.state.sessions(), "the slot is free")
    assert "Traceback" not in grid.log("proxy")


RSV1 = 0x40  # says that a message is compressed (RFC 7692, section 6)
LARGE = 1_000_000


def test_large_messages_are_compressed_from_end_to_end_both_ways(grid: Appliance) -> None:
    with relay_to(grid.port) as wire, sync_playwright() as playwright:
        browser = playwright.chromium.connect(f"ws://127.0.0.1:{wire.port}")
        assert browser.new_page().evaluate("text => text + text", "x" * LARGE) == "x" * 2 * LARGE
        browser.close()
    for direction in (wire.sent, wire.answered):
        compressed = [length for first, length in frames(bytes(direction)) if first & RSV1]
        assert compressed
        assert len(direction) < LARGE / 10


# ── When the grid is not well ─────────────────────────────────────────────────────────────────────────


def test_while_redis_is_away_a_client_is_told_after_a_short_retry(
    relayed: tuple[Appliance, RedisRelay], grid: Appliance, wire: Wire
) -> None:
    relay = relayed[1]
    relay.is_away = True
    try:
        started = time.monotonic()
        answer = wire.upgrade()
        assert 0.1 < time.monotonic() - started < REDIS_RETRY_MAX_S
        assert int(answer.headers["retry-after"]) > 0
        refused(wire, answer, 503, "Redis does not answer", "REDIS_URL")
        for target, status in {"/healthz": 200, "/readyz": 503, "/api/v1/capacity": 503}.items():
            with Wire(grid.port) as page:
                assert page.get(target).status == status
    finally:
        relay.is_away = False


def test_while_the_appliance_shuts_down_new_clients_are_refused(grid: Appliance, wire: Wire) -> None:
    assert wire.upgrade().status == 101  # it keeps the proxy for SHUTDOWN_GRACE
    grid.process("proxy").terminate()
    until(lambda: "proxy.stopping" in grid.log("proxy"), "it shuts down")
    with Wire(grid.port) as late:
        answer = late.upgrade()
        assert int(answer.headers["retry-after"]) > 0
        refused(late, answer, 503, "The appliance is shutting down.", "Retry")
