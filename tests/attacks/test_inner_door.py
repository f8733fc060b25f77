"""The inner door: nobody gets a session by it without a key of the grid, and nobody who lacks it learns of one.

`back` has the worker and the Redis, and serves TLS; `front` has no workers, so that all its sessions pass the door.
"""

from __future__ import annotations

import os
import secrets
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Playwright, sync_playwright

from appliance.errors import Blame, DialFailed
from appliance.grid.grid import Grid
from appliance.machine.certificate import fingerprint, load_into
from proxy.door import protocol
from proxy.door.protocol import Hello, Order, Seal, Unproven
from tests.support.announced import announcement
from tests.support.appliance import Appliance, free_port
from tests.support.certificates import Authority
from tests.support.claims import spec
from tests.support.knocking import Knock, Trap, between, trap
from tests.support.looks import bytes_of, paths_in
from tests.support.waiting import until
from tests.support.wire import UPGRADE, Wire

SECRET_AGENT = "Playwright/1.65.1 (a-client's-own-words)"
BESIDE_HOST = "127.0.0.2"  # where `back` opens its door, for its HOST is 127.0.0.1
STOLEN = b"what-no-client-may-see"
HEADERS = tuple(UPGRADE.items())[2:]


@dataclass
class Pair:
    """The two appliances."""

    front: Appliance
    back: Appliance

    @property
    def state(self) -> Grid:
        return self.back.state

    @property
    def back_name(self) -> str:
        return self.back.env["APPLIANCE_NAME"]

    @property
    def key(self) -> bytes:
        """The grid's key, which only who can read its Redis knows."""
        (text,) = self.state.store.read(("HGET", self.state.store.key("door"), "current"))
        return bytes.fromhex(text or "")

    @property
    def worker(self) -> str:
        (worker,) = self.back.available(1)
        return worker.id

    def order(self, worker: str = "") -> bytes:
        return Order("front", "s", worker or self.worker, HEADERS).as_bytes()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    served = Authority(tmp_path_factory.mktemp("tls")).issue()
    redis = f"127.0.0.1:{free_port()}"
    password = "redis-of-the-two"
    rarely = {
        "LEASE_RENEW_INTERVAL": 300,
        "LEASE_TTL": 900,
    }  # so that an announcement that was forged stays for a while
    with ExitStack() as ends:

        def start(**settings: Any) -> Appliance:
            return ends.enter_context(Appliance(MAX_LIFETIME_SESSIONS=0, QUEUE_TIMEOUT=10, **settings))

        tls = {"TLS_CERT": served.certificate, "TLS_KEY": served.key}
        back = start(REDIS_LISTEN=redis, REDIS_PASSWORD=password, PRIVATE_HOSTNAME=BESIDE_HOST, **tls, **rarely)
        front = start(REDIS_URL=f"redis://:{password}@{redis}", CHROMIUM_WORKERS=0)
        yield Pair(front, back)


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


def answered(grid: Appliance) -> bytes:
    """Ask for a session; returns all that the client is answered, head and body, or the head of a 101."""
    with Wire(grid.port) as wire:
        answer = wire.upgrade(user_agent=SECRET_AGENT)
        return f"{answer.status} {answer.headers}".encode() + answer.body


@contextmanager
def forged_worker(pair: Pair, port: int) -> Iterator[None]:
    """Let a worker be registered that is none, which every proxy would rather use than another."""
    state, store = pair.state, pair.state.store
    worker = spec("evil.chromium-00.abcdef", quota=0, appliance="evil", name="chromium-00")
    state.register_worker(worker)
    place = {"endpoint": f"ws://127.0.0.1:{port}/latest/meta-data", "address": "127.0.0.1", "port": port}
    store.read(("HSET", store.key("worker", worker.id), *(word for item in place.items() for word in item)))
    try:
        yield
    finally:
        state.remove_worker(worker.id, "it never was")


@contextmanager
def forged_appliance(pair: Pair, port: int) -> Iterator[None]:
    """Let an appliance be announced that is none, with such a worker."""
    store = pair.state.store
    try:
        with forged_worker(pair, port):
            pair.state.announce(announcement("evil", address="127.0.0.1", port=port))
            yield
    finally:
        store.read(("ZREM", store.key("appliances"), "evil"), ("DEL", store.key("appliance", "evil")))


def said_to(trap: Trap) -> bytes:
    return b"".join(trap.heard)


def test_a_session_on_another_appliances_worker_keeps_nothing_from_it(
    pair: Pair, playwright: Playwright, site: str
) -> None:
    page = playwright.chromium.connect(pair.front.endpoint).new_page()
    page.goto(site)
    assert page.title() == "A real page"
    assert page.evaluate("'x'.repeat(3_000_000).length") == 3_000_000
    (session,) = pair.state.sessions()
    assert session.proxy.startswith(pair.front.env["APPLIANCE_NAME"])
    until(lambda: f"event=inner.started session={session.id}" in pair.back.log("proxy"), "the relay has begun")
    page.context.browser.close()
    until(lambda: f"event=inner.ended session={session.id}" in pair.back.log("proxy"), "the relay has ended")
    until(lambda: not pair.state.sessions(), "the slot is free")


def test_a_session_on_another_appliances_worker_has_a_browser_of_its_own(pair: Pair, playwright: Playwright) -> None:
    sessions = [playwright.chromium.connect(f"{pair.front.endpoint}/?isolation=browser") for _ in range(2)]
    for one in sessions:
        one.new_page()
        found = one.new_browser_cdp_session().send("Target.getTargets")["targetInfos"]
        assert len([target for target in found if target["type"] == "page"]) == 1
        assert one.new_context().new_page().evaluate("6 * 7") == 42
    for one in sessions:
        one.close()
    until(lambda: not pair.state.sessions(), "the slots are free")


def test_a_forged_record_of_a_worker_makes_no_proxy_dial_what_it_names(pair: Pair) -> None:
    with trap(b"HTTP/1.1 200 OK\r\n\r\n" + STOLEN) as there:
        with forged_worker(pair, there.port):
            found = [answered(pair.front) for _ in range(3)]
            until(lambda: "evil" in pair.front.log("proxy"), "it was claimed")
        assert not there.heard
    assert {answer[:3] for answer in found} == {b"101"}, "the real worker serves"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + STOLEN, id="a page"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Stolen: " + STOLEN + b"\r\n\r\n\x81\x16" + STOLEN,
            id="a driver's answer",
        ),
        pytest.param(protocol.welcome(b"n" * 32, "0" * 64) + STOLEN, id="a welcome whose proof is wrong"),
        pytest.param(b"\0\0\0\x16" + STOLEN + b"\0" * 32, id="noise"),
        pytest.param(b"", id="silence"),
    ],
)
def test_what_answers_without_proof_shows_a_client_nothing_and_learns_nothing_of_it(answer: bytes, pair: Pair) -> None:
    with trap(answer) as there, forged_appliance(pair, there.port):
        found = answered(pair.front)
        until(lambda: there.heard, "the announced address was asked")
    assert STOLEN not in found
    assert found.startswith(b"101"), "the real worker serves"
    heard = said_to(there)
    assert heard.startswith(b"GET /inner HTTP/1.1\r\n")
    assert SECRET_AGENT.encode() not in heard
    assert UPGRADE["Sec-WebSocket-Key"].encode() not in heard


def test_no_client_is_served_where_the_door_is_open_beside_host(pair: Pair) -> None:
    with Knock(pair.back.port, BESIDE_HOST) as client:
        client.say(b"GET / HTTP/1.1\r\nHost: grid\r\n" + "".join(f"{n}: {v}\r\n" for n, v in UPGRADE.items()).encode())
        client.say(b"\r\n")
        assert client.answer().status == 404
    with Knock(pair.back.port, BESIDE_HOST) as appliance:
        appliance.greet(pair.key, pair.back_name)


def test_without_the_grids_key_nobody_passes(pair: Pair) -> None:
    with Knock(pair.back.port) as stranger:
        stranger.say(Hello(protocol.key_id(secrets.token_bytes(32)), protocol.new_nonce()).as_request("grid"))
        assert stranger.answer().status == 401
    with Knock(pair.back.port) as stranger:  # who knows the key's name, which is said in the open, has not the key
        nonce = protocol.new_nonce()
        stranger.say(Hello(protocol.key_id(pair.key), nonce).as_request("grid"))
        other, _ = protocol.parse_welcome(stranger.answer())
        seal = Seal(secrets.token_bytes(32), (nonce, other), pair.back_name, stranger.certificate)
        stranger.say(seal.close("order", pair.order()))
        assert stranger.rest() == b""
    until(lambda: not pair.state.sessions(), "those of earlier tests are over, and there is no other")


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /inner HTTP/1.1\r\nHost: grid\r\n\r\n",
        b"GET /inner HTTP/1.1\r\nHost: grid\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /inner HTTP/1.1\r\nHost: grid\r\nConnection: Upgrade\r\nUpgrade: appliance-door-1\r\n\r\n",
        b"HEAD /inner HTTP/1.1\r\nHost: grid\r\nUpgrade: appliance-door-1\r\n\r\n",
    ],
)
def test_a_request_without_a_hello_is_refused(request_head: bytes, pair: Pair) -> None:
    with Knock(pair.back.port) as stranger:
        stranger.say(request_head)
        assert stranger.answer().status == 400


def test_what_was_recorded_is_of_no_use_a_second_time(pair: Pair) -> None:
    with Knock(pair.back.port) as appliance:
        seal = appliance.greet(pair.key, pair.back_name)
        appliance.say(order := seal.close("order", pair.order()))
        assert protocol.parse_verdict(appliance.message(seal, "verdict")).status == 101
        hello = appliance.sent.removesuffix(order)
    with Knock(pair.back.port) as recorder:
        recorder.say(hello)
        recorder.answer()
        recorder.say(order)
        assert recorder.rest() == b""


def test_a_proof_for_another_certificate_or_another_appliance_opens_nothing(pair: Pair) -> None:
    for name, certificate in ((pair.back_name, "0" * 64), (pair.back_name, ""), ("front", None)):
        with Knock(pair.back.port) as visitor:
            visitor.certificate = visitor.certificate if certificate is None else certificate
            with pytest.raises(Unproven):
                visitor.greet(pair.key, name)


@pytest.mark.parametrize(
    "worker",
    [
        "front.chromium-00.abcdef",
        "{back}.chromium-00.000000",
        "{back}.../../../../tmp.x",
        "{back}...",
        "{back}.chromium-00/../../..",
        "../../../../{back}.chromium-00.abcdef",
        "",
        "{back}.chromium-00.abcdef\0",
    ],
)
def test_even_with_the_key_only_this_appliances_own_workers_are_reached(worker: str, pair: Pair) -> None:
    with Knock(pair.back.port) as appliance:
        seal = appliance.greet(pair.key, pair.back_name)
        appliance.say(seal.close("order", Order("f", "s", worker.format(back=pair.back_name), HEADERS).as_bytes()))
        verdict = appliance.message(seal, "verdict")
        assert appliance.rest() == b""
    with pytest.raises(DialFailed) as failed:
        protocol.parse_verdict(verdict)
    assert failed.value.blame is Blame.WORKER


def test_who_sits_between_two_appliances_with_another_certificate_gets_nothing(pair: Pair, tmp_path: Path) -> None:
    """Also if Redis was made to name the one in between, and its certificate."""
    store = pair.state.store
    record = store.key("appliance", pair.back_name)
    (real,) = store.read(("HMGET", record, "address", "port", "certificate"))
    own = Authority(tmp_path).issue()
    certificate = fingerprint(load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), own.certificate, own.key))
    with between(pair.back.port, own) as there:
        for said in (certificate, real[2]):
            place = ("address", "127.0.0.1", "port", str(there.port), "certificate", said)
            store.read(("HSET", record, *place))
            until(lambda: answered(pair.front).startswith(b"503"), "its place is read again", within_s=60)
        store.read(("HSET", record, "address", real[0], "port", real[1], "certificate", real[2]))
        heard = said_to(there)
    assert b"GET /inner HTTP/1.1" in heard, "it was tried"
    assert SECRET_AGENT.encode() not in heard
    until(lambda: answered(pair.front).startswith(b"101"), "the real one serves again", within_s=60)
    assert not [line for line in pair.back.log("proxy").splitlines() if "Traceback" in line]


def test_neither_a_rotated_key_nor_an_emptied_redis_fails_a_session(pair: Pair, playwright: Playwright) -> None:
    state = pair.state
    page = playwright.chromium.connect(pair.front.endpoint).new_page()
    before = pair.key
    for _ in range(2):  # after which Redis knows the key no more that both proxies have
        state.door_keys("", secrets.token_hex(32), 0)
    assert answered(pair.front).startswith(b"101")
    with Knock(pair.back.port) as appliance:
        appliance.greet(pair.key, pair.back_name)
    assert answered(pair.front).startswith(b"101"), "one has the new key, the other the old one"
    assert pair.key != before
    state.store.read(("FLUSHALL",))
    until(lambda: answered(pair.front).startswith(b"101"), "the worker is registered again", within_s=60)
    assert page.evaluate("6 * 7") == 42
    page.context.browser.close()


def test_the_key_stands_in_no_log_and_no_file(pair: Pair) -> None:
    key = until(lambda: pair.key, "there is a key").hex()
    for grid in (pair.front, pair.back):
        for path in paths_in(grid.run_dir):
            if path.is_file() and os.access(path, os.R_OK):
                assert key.encode() not in bytes_of(path), path
