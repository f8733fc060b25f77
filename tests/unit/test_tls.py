"""Bytes pass a pump over TLS whole and in order, either end may end, and a broken certificate changes nothing."""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import gevent
import gevent.socket
import pytest
from cryptography.hazmat.primitives import serialization
from gevent.event import Event
from gevent.ssl import SSLContext, SSLSocket

from appliance.errors import SettingsError
from appliance.machine.certificate import require_usable
from proxy.pump import Pump
from proxy.tls import Tls
from tests.support.certificates import Authority, Pair

SIZE = 12 * 1024 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def context(request: pytest.FixtureRequest, authority: Authority) -> SSLContext:
    """Provide the client's context."""
    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.file)
    context.minimum_version = context.maximum_version = request.param
    return context


class Line:
    """Client ─ proxy ─ worker: the client's and the worker's ends are used by greenlets."""

    def __init__(self, context: SSLContext, pair: Pair) -> None:
        plain, accepted = gevent.socket.socketpair()
        self.dialled, self.worker = gevent.socket.socketpair()
        client = gevent.spawn(context.wrap_socket, plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        self.accepted = Tls(pair.certificate, pair.key).secure(accepted)
        self.accepted.do_handshake()
        self.client: SSLSocket = client.get(timeout=30)
        self.ended = Event()

    def close(self) -> None:
        for one in (self.client, self.accepted, self.dialled, self.worker):
            one.close()


@pytest.fixture
def line(context: SSLContext, pair: Pair) -> Iterator[Line]:
    line = Line(context, pair)
    with gevent.Timeout(30):
        yield line
    line.close()


def test_both_ways_at_once_every_byte_arrives_in_order(line: Line) -> None:
    data = os.urandom(SIZE)

    def echo() -> None:
        while piece := line.worker.recv(300_000):
            line.worker.sendall(piece)

    def receive() -> bytearray:
        got = bytearray()
        while len(got) < SIZE:
            got += line.client.recv(70_000)
        return got

    pumps = [Pump(line.accepted, line.dialled, line.ended.set), Pump(line.dialled, line.accepted, line.ended.set)]
    for pump in pumps:
        pump.start()
    players = [gevent.spawn(echo), gevent.spawn(line.client.sendall, data), received := gevent.spawn(receive)]
    assert received.get() == data
    assert [pump.bytes_moved for pump in pumps] == [SIZE, SIZE]
    line.client.shutdown(socket.SHUT_WR)
    assert line.ended.wait(20), "the client's end is not found"
    for pump in pumps:
        pump.close()
    gevent.killall(players)


def test_openssl_keeps_nothing_back_that_a_watcher_would_not_see(line: Line) -> None:
    for _ in range(5):
        line.client.send(bytes(10_000))  # a record of its own
    transport, buffer, sizes = line.accepted.without_blocking(), bytearray(38_000), []
    while sum(sizes) < 50_000:
        assert select.select([line.accepted], [], [], 20)[0], "the rest is not seen"
        sizes.append(transport.recv_into(buffer))
        assert line.accepted.pending() == 0
    assert sizes == [30_000, 20_000]
    with pytest.raises(BlockingIOError):
        transport.recv_into(buffer)


def test_an_end_that_comes_with_the_last_bytes_is_found_although_tcp_stays_open(line: Line) -> None:
    line.client.sendall(b"last bytes")
    line.client.settimeout(0)
    with pytest.raises(ssl.SSLWantReadError):  # it says close_notify, and would wait for ours
        line.client.unwrap()
    pump = Pump(line.accepted, line.dialled, line.ended.set)
    pump.start()
    assert line.ended.wait(20), "the end is not found"
    assert line.worker.recv(100) == b"last bytes"
    pump.close()


def test_shutdown_says_close_notify(line: Line) -> None:
    line.accepted.sendall(b"bye")
    line.accepted.shutdown(socket.SHUT_WR)
    assert line.client.recv(100) == b"bye"
    assert line.client.recv(100) == b""  # a bare end raises SSLEOFError


def test_files_that_are_no_pair_are_named(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    other = authority.issue("other")
    require_usable(None, None)
    require_usable(pair.certificate, pair.key)
    for certificate, key, said in [
        (pair.certificate, other.key, "cannot be used: key values mismatch"),
        (pair.certificate, tmp_path / "away", "TLS_KEY .*away cannot be read: No such file"),
        (pair.key, pair.key, "cannot be used"),
        (tmp_path, pair.key, "TLS_CERT .* cannot be read: Is a directory"),
    ]:
        with pytest.raises(SettingsError, match=said):
            require_usable(certificate, key)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(pair: Pair, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "locked.key").write_bytes(locked)
    with pytest.raises(SettingsError, match="cannot be used"):
        require_usable(pair.certificate, tmp_path / "locked.key")
