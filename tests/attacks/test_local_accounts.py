"""Other accounts of the machine, on a grid without a token: they reach nothing but the pages that are open to all."""

from __future__ import annotations

import json
import socket
import subprocess

import pytest
from playwright.sync_api import sync_playwright

from tests.support.appliance import Appliance
from tests.support.waiting import until
from tests.support.wire import UPGRADE, Wire

ANOTHER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")  # nobody, which every Debian has
GUARDED = ("/metrics", "/api/v1/capacity", "/api/v1/appliance")

# A client that needs no file which only root may read: /usr/bin/python3 with its own library.
ASK = """
import json, socket, sys
port, target, headers, way = json.loads(sys.argv[1])
connection = socket.create_connection(("127.0.0.1", port), timeout=15)
lines = [f"GET {target} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
connection.sendall("\\r\\n".join(lines).encode())
if way == "half-closed":
    connection.shutdown(socket.SHUT_WR)
if way == "hung up":
    sys.exit()
print(connection.recv(4096).decode("latin-1"))
"""


def ask(grid: Appliance, target: str, headers: dict[str, str], way: str = "", prefix: tuple[str, ...] = ANOTHER) -> str:
    """Ask from another account, and return the answer."""
    argument = json.dumps([grid.port, target, headers, way])
    command = [*prefix, "/usr/bin/python3", "-I", "-c", ASK, argument]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_another_account_opens_no_session_and_is_told_how_to_get_in(grid: Appliance) -> None:
    before = grid.state.events()
    answer = ask(grid, "/", UPGRADE)
    assert answer.startswith("HTTP/1.1 401 ")
    assert "Only root and the appliance's own account may connect without a token." in answer
    assert "applctl token create NAME" in answer
    assert grid.state.events() == before


@pytest.mark.parametrize("target", GUARDED)
def test_another_account_reads_no_page_that_tells_of_the_grid(target: str, grid: Appliance) -> None:
    assert ask(grid, target, {}).startswith("HTTP/1.1 401 ")
    assert ask(grid, f"/%{ord(target[1]):x}{target[2:]}", {}).startswith("HTTP/1.1 401 ")


@pytest.mark.parametrize("target", ["/healthz", "/readyz", "/json"])
def test_pages_that_are_open_to_all_are_open_to_another_account(target: str, grid: Appliance) -> None:
    assert ask(grid, target, {}).startswith("HTTP/1.1 200 ")


def test_another_account_gets_in_with_a_token_while_the_own_account_still_needs_none(grid: Appliance) -> None:
    token = grid.applctl("token", "create", "neighbour").stdout.strip()
    for headers in ({"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer wrong"}):
        admitted = "wrong" not in headers["Authorization"]
        assert ask(grid, "/", UPGRADE | headers).startswith("HTTP/1.1 101 " if admitted else "HTTP/1.1 401 ")
    with sync_playwright() as playwright:
        playwright.chromium.connect(grid.endpoint).close()
    with Wire(grid.port) as wire:
        assert wire.get("/metrics").status == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_what_a_proxy_of_the_own_account_passes_on_is_not_its_own(header: str, grid: Appliance) -> None:
    with Wire(grid.port) as wire:
        answer = wire.upgrade("/", **{header: "203.0.113.7"})
    assert answer.status == 401
    assert "comes through a proxy" in answer.error["message"]


def test_no_claim_of_a_header_makes_an_account_another(grid: Appliance) -> None:
    for headers in ({"X-Forwarded-For": "127.0.0.1"}, {"Host": "127.0.0.1"}, {"Authorization": "Basic cm9vdDo="}):
        assert ask(grid, "/", UPGRADE | headers).startswith(("HTTP/1.1 401 ", "HTTP/1.1 400 "))


def test_a_connection_whose_program_has_closed_it_counts_as_nobodys(grid: Appliance) -> None:
    """The kernel names root as the owner of such a socket."""
    until(lambda: not grid.state.sessions(), "no session is left, whose end would be an event")
    before = grid.state.events()
    for way in ("half-closed", "hung up"):
        for _ in range(20):
            answer = ask(grid, "/", UPGRADE, way)
            assert answer.startswith("HTTP/1.1 401 ") or way == "hung up"
    assert grid.state.events() == before


def test_an_inherited_connection_belongs_to_who_made_it(grid: Appliance) -> None:
    """It is the socket's account that counts, not that of the program which happens to hold it."""
    with socket.create_connection(("127.0.0.1", grid.port), timeout=15) as connection:
        code = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).sendall(sys.argv[2].encode())"
        lines = ["GET /metrics HTTP/1.1", "Host: localhost", "", ""]
        number = str(connection.fileno())
        command = [*ANOTHER, "/usr/bin/python3", "-I", "-c", code, number, "\r\n".join(lines)]
        subprocess.run(command, pass_fds=[connection.fileno()], timeout=30, check=True)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
