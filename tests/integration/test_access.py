"""The account at the other end of a connection, as the kernel tells it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from appliance.grid.grid import Grid
from appliance.grid.token_copy import TokenFile
from appliance.grid.token_table import Principal
from appliance.grid.tokens import Tokens
from appliance.request_errors import Unauthorized
from appliance.settings import config
from appliance.settings.config import Settings
from proxy.access import NO_TOKEN, Access
from proxy.socket_owner import uid_of

DAEMON, NOBODY = 1, 65534  # accounts that every Debian has; nobody also stands for those of other namespaces
OTHER_ACCOUNT = "Only root and the appliance's own account"
CONNECT = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); sys.stdin.read()"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs under other accounts")


@contextmanager
def connection_of(uid: int) -> Iterator[socket.socket]:
    """Accept a connection that a program of an account makes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = ["setpriv", f"--reuid={uid}", "--clear-groups", "/usr/bin/python3", "-I", "-c", CONNECT]
        arguments = [*command, str(listener.getsockname()[1])]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE), closing(listener.accept()[0]) as server:
            yield server


@pytest.mark.parametrize(
    ("listen", "connect"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.9"),
        ("::1", "::1"),
        ("::", "::1"),
        ("::", "127.0.0.1"),
        ("::", "::ffff:127.0.0.1"),
    ],
)
def test_the_account_is_told_for_every_kind_of_address(listen: str, connect: str) -> None:
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    with (
        socket.create_server((listen, 0), family=family, dualstack_ipv6=listen == "::") as listener,
        socket.create_connection((connect, listener.getsockname()[1])) as client,
        listener.accept()[0] as server,
    ):
        peer, own = server.getpeername(), server.getsockname()
        assert uid_of(peer, own) == os.geteuid()
        client.close()
        assert uid_of(peer, own) is None, "the kernel names root for a socket that is closed"


def test_a_peer_that_is_not_on_this_machine_has_no_account() -> None:
    assert uid_of(("192.0.2.1", 1000), ("127.0.0.1", 8080)) is None


@pytest.fixture
def objection(grid: Grid, tmp_path: Path) -> Callable[..., str]:
    """Return a function that returns why a connection without a token is refused, "" if it is not."""
    tokens = Tokens(grid, TokenFile(tmp_path, grid.store.url, "test"))

    def to(connection: socket.socket, own_uid: int, settings: Settings) -> str:
        try:
            assert Access(tokens, settings, own_uid).admit(connection, {}, "/", "") == Principal(is_admin=True)
        except Unauthorized as refusal:
            return str(refusal)
        return ""

    return to


@as_root
@pytest.mark.parametrize(("own", "peer", "said"), [
    (DAEMON, DAEMON, ""),
    (DAEMON, 0, ""),
    (0, 0, ""),
    (0, DAEMON, OTHER_ACCOUNT),
    (DAEMON, NOBODY, OTHER_ACCOUNT),
    (NOBODY, NOBODY, OTHER_ACCOUNT),
])  # fmt: skip
def test_only_root_and_the_own_account_need_no_token(
    own: int, peer: int, said: str, objection: Callable[..., str]
) -> None:
    with connection_of(peer) as connection:
        found = objection(connection, own, config.load())
        assert found.startswith(said)
        assert bool(found) == bool(said)


def test_beyond_loopback_an_account_is_no_proof(objection: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        connection = listener.accept()[0]
        with connection:
            settings = config.load(host="0.0.0.0", redis_url="redis://redis.internal")
            assert objection(connection, os.geteuid(), settings) == NO_TOKEN
