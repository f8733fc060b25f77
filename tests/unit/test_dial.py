"""Whom a failed dial is blamed on: the worker, the path to it, or the proxy itself."""

from __future__ import annotations

import errno
import os
import resource
import socket
from pathlib import Path

import gevent.socket
import pytest

from appliance.errors import Blame, DialFailed
from appliance.settings import config
from proxy.dial import DIAL_TIMEOUT_S, LAUNCH_TIMEOUT_S, dial, is_own, time_limit_s
from proxy.handshake import Headers, parse

UPGRADE = [
    *(("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


@pytest.fixture
def headers() -> Headers:
    return parse(UPGRADE, "/", "127.0.0.1", config.load()).forwarded


def blamed(headers: Headers, path: Path) -> Blame:
    with pytest.raises(DialFailed) as failed:
        dial(headers, path)
    return failed.value.blame


def test_a_driver_that_is_gone_is_to_blame(headers: Headers, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "left"))
    for name in ("left", "never made"):
        assert blamed(headers, tmp_path / name) is Blame.WORKER


def test_a_failed_dial_names_the_worker_to_the_client_and_the_socket_in_the_log(
    headers: Headers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chromium-01" / "0a1b2c" / "driver.sock"
    with pytest.raises(DialFailed, match=r"^the driver of worker chromium-01 does not serve: ") as failed:
        dial(headers, path)
    assert str(tmp_path) not in str(failed.value)
    assert str(path) in "".join(capsys.readouterr())


def test_a_proxy_without_descriptors_has_itself_to_blame(headers: Headers, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        blame = blamed(headers, tmp_path / "socket")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert blame is Blame.SELF


def test_a_socket_that_its_worker_has_closed_to_the_proxy_is_the_workers_fault(
    headers: Headers, tmp_path: Path
) -> None:
    account = os.geteuid()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        (tmp_path / "socket").chmod(0)
        if account == 0:  # whom a mode does not hold back
            os.seteuid(65534)
        try:
            with pytest.raises(DialFailed, match="Permission denied") as failed:
                dial(headers, tmp_path / "socket")
        finally:
            os.seteuid(account)
    assert failed.value.blame is Blame.WORKER


def test_a_driver_whose_backlog_is_full_is_not_waited_for(
    headers: Headers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "socket"
    monkeypatch.setattr("proxy.dial.socket", gevent.socket)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(str(path))
        server.listen(0)
        first.connect(str(path))
        with pytest.raises(DialFailed, match="Resource temporarily unavailable") as failed:
            dial(headers, path, limit_s=2)
    assert failed.value.blame is Blame.WORKER


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOBUFS, ""), True),
        (OSError(errno.EADDRNOTAVAIL, "IPv6 is disabled"), False),
        (OSError(errno.ENETUNREACH, ""), False),
        (OSError(errno.EPERM, "a firewall here"), False),
        (EOFError(), False),
    ],
)
def test_only_what_no_dial_could_do_without_is_the_proxys_own_want(error: Exception, expected: bool) -> None:
    assert is_own(error) is expected


def test_only_a_session_whose_browser_is_launched_gets_the_time_for_that() -> None:
    kept = parse(UPGRADE, "/?session=cart&keep=5", "127.0.0.1", config.load())
    assert time_limit_s(kept.claiming("s")) == LAUNCH_TIMEOUT_S
    assert time_limit_s(kept.visiting("s")) == DIAL_TIMEOUT_S
