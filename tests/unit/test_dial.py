"""Whom a failed dial is blamed on: the worker, the path to it, or the proxy itself."""

from __future__ import annotations

import errno
import os
import resource
import socket
from pathlib import Path

import pytest

from appliance.errors import Blame, DialFailed
from proxy.dial import blame_for, dial
from proxy.handshake import Headers, parse

UPGRADE = [
    *(("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


@pytest.fixture
def headers() -> Headers:
    return parse(UPGRADE, "/", "127.0.0.1", "chromium", "").forwarded


def blamed(headers: Headers, path: Path) -> Blame:
    with pytest.raises(DialFailed) as failed:
        dial(headers, path)
    return failed.value.blame


def test_a_driver_that_is_gone_is_to_blame(headers: Headers, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "left"))
    for name in ("left", "never made"):
        assert blamed(headers, tmp_path / name) is Blame.WORKER


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


@pytest.mark.parametrize(
    ("error", "blame"),
    [
        (OSError(errno.ENOBUFS, ""), Blame.SELF),
        (OSError(errno.EADDRNOTAVAIL, ""), Blame.SELF),
        (OSError(errno.ENETUNREACH, ""), Blame.PATH),
        (OSError(errno.EPERM, "a firewall here"), Blame.PATH),
        (ConnectionResetError(errno.ECONNRESET, ""), Blame.WORKER),
        (EOFError(), Blame.WORKER),
    ],
)
def test_an_error_is_blamed_on_the_part_that_it_shows_at_fault(error: Exception, blame: Blame) -> None:
    assert blame_for(error) is blame
