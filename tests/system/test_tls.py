"""Real clients over TLS, and a certificate that changes under their sessions."""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.appliance import Appliance
from tests.support.certificates import Authority
from tests.support.waiting import until

CLIENTS = Path(__file__).parent / "clients"
MEGABYTES = 4


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def grid(authority: Authority) -> Iterator[Appliance]:
    """Provide an appliance with a certificate for 127.0.0.1."""
    pair = authority.issue()
    settings = {"TLS_CERT": pair.certificate, "TLS_KEY": pair.key, "MAX_LIFETIME_SESSIONS": 0, "REQUEST_TIMEOUT": 5}
    with Appliance(**settings) as grid:
        yield grid


@pytest.fixture
def client(authority: Authority, grid: Appliance) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start clients that trust the authority."""
    with ExitStack() as to_be_ended:

        def start(scheme: str = "wss", **more: str) -> subprocess.Popen[str]:
            command = [sys.executable, str(CLIENTS / "tls_client.py"), f"{scheme}://127.0.0.1:{grid.port}"]
            env = os.environ | {"NODE_EXTRA_CA_CERTS": str(authority.file)} | more
            started = subprocess.Popen(
                command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            to_be_ended.callback(lambda: started.poll() is None and started.kill())
            return started

        yield start


def evaluate(client: subprocess.Popen[str], expression: str) -> str:
    assert client.stdin
    assert client.stdout
    client.stdin.write(f"{expression}\n")
    client.stdin.flush()
    return client.stdout.readline().strip()


def served(grid: Appliance, authority: Authority) -> int:
    """Return the serial number of the certificate that a new connection gets; it is verified."""
    context = ssl.create_default_context(cafile=authority.file)
    with (
        socket.create_connection(("127.0.0.1", grid.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        assert secured.version() == "TLSv1.3"
        return int(secured.getpeercert()["serialNumber"], 16)  # type: ignore[index, arg-type]


def test_the_certificate_changes_under_a_session_and_a_broken_one_changes_nothing(
    grid: Appliance, authority: Authority, client: Callable[..., subprocess.Popen[str]]
) -> None:
    running = client()
    assert evaluate(running, "6 * 7") == "42"
    first = served(grid, authority)
    pair = authority.issue()
    until(lambda: served(grid, authority) != first, "the new certificate is served")
    second = served(grid, authority)
    pair.key.write_text("broken")
    until(lambda: "certificate.broken" in grid.log("proxy"), "the broken key is noticed")
    assert "certificate" in grid.applctl("doctor", check=False).stdout
    assert served(grid, authority) == second
    third = authority.issue()
    until(lambda: served(grid, authority) != second, "the mended pair is served")
    assert third.key == pair.key
    assert evaluate(running, "6 * 7") == "42"
    later = client("https")
    assert evaluate(later, "6 * 7") == "42"
    for one in (running, later):
        _, errors = one.communicate(timeout=60)
        assert (one.returncode, errors) == (0, "")


def test_large_messages_pass_both_ways(grid: Appliance, client: Callable[..., subprocess.Popen[str]]) -> None:
    one = client()
    text = "y" * (MEGABYTES * 2**20)
    assert evaluate(one, f"'{text}' + 'z'") == text + "z"
    one.communicate(timeout=60)
    assert one.returncode == 0


def test_a_client_that_does_not_know_the_authority_refuses(client: Callable[..., subprocess.Popen[str]]) -> None:
    _, errors = client(NODE_EXTRA_CA_CERTS="").communicate(timeout=60)
    assert "unable to verify the first certificate" in errors


def test_a_client_that_speaks_no_tls_is_told_so(client: Callable[..., subprocess.Popen[str]]) -> None:
    _, errors = client("ws").communicate(timeout=60)
    assert "This endpoint speaks TLS" in errors


def test_a_handshake_that_stalls_delays_nobody_and_ends_in_time(grid: Appliance, authority: Authority) -> None:
    with socket.create_connection(("127.0.0.1", grid.port), timeout=30) as stalled:
        stalled.sendall(b"\x16\x03\x01")
        served(grid, authority)
        assert not select.select([stalled], [], [], 0)[0], "it stalls still"
        assert stalled.recv(1) == b""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_versions_of_tls_are_refused(grid: Appliance) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", grid.port), timeout=30) as plain,
        pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"),
    ):
        context.wrap_socket(plain)


def test_applctl_works_with_a_certificate_of_whatever_issuer(grid: Appliance, tmp_path: Path) -> None:
    status = json.loads(grid.applctl("status", "--json").stdout)
    assert (status["endpoint"], status["ready"]) == (f"wss://localhost:{grid.port}", True)
    assert "accepts sessions" in grid.applctl("doctor").stdout
    demo = json.loads(grid.applctl("demo", "--json", "--output", str(tmp_path / "demo.png")).stdout)
    assert demo["endpoint"].startswith("wss://")
    up = json.loads(grid.applctl("up", "--json").stdout)
    assert up["endpoint"].startswith("wss://")
