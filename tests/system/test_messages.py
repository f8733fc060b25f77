"""Messages of every size pass through a real session; one that is too large is refused in the driver's own words."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import playwright

from tests.support.appliance import Appliance, StartGrid, tree
from tests.support.frames import CLOSE, TEXT, frame, read_frame
from tests.support.waiting import until
from tests.support.wire import Wire

# The driver's WebSocket server is made without a limit of its own, so that of the ws package holds: 100 MiB
# (packages/utils/wsServer.ts of Playwright; maxPayload in ws/lib/websocket-server.js).
TOO_LARGE = 101 * 1024 * 1024
MESSAGE_TOO_BIG = 1009  # RFC 6455, section 7.4.1


LARGE_CLIENT, STOPPED_CLIENT = (Path(__file__).parent / "clients" / name for name in ("large.mjs", "stopped.mjs"))
DRIVER = Path(playwright.__file__).parent / "driver"


def test_messages_of_16_and_90_mb_pass_both_ways(grid: Appliance) -> None:
    command = [DRIVER / "node", LARGE_CLIENT, DRIVER / "package", grid.endpoint]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, True]


@contextmanager
def raw_session(grid: Appliance) -> Iterator[socket.socket]:
    """Open a session without compression; yield the socket. The driver sends nothing of its own."""
    with Wire(grid.port) as wire:
        assert wire.upgrade().status == 101
        yield wire.socket


def test_the_client_sees_the_code_with_which_the_driver_refuses_a_message_of_101_mib(grid: Appliance) -> None:
    (worker,) = grid.available(1)
    with raw_session(grid) as client:
        message = frame(TEXT, bytes(TOO_LARGE), mask=bytes(4))
        sender = threading.Thread(target=client.sendall, args=(message,))
        sender.start()
        refusal = read_frame(client)
        assert refusal is not None
        assert (refusal.opcode, refusal.code) == (CLOSE, MESSAGE_TOO_BIG)
        sender.join()
        client.sendall(frame(CLOSE, refusal.payload, mask=bytes(4)))
        assert read_frame(client) is None
    until(lambda: not grid.state.sessions(), "the slot is free")
    assert grid.available(1)[0].id == worker.id


def unsent_bytes(port: int) -> int:
    """Count what waits in the kernel until clients of a port of loopback take it (proc(5), /proc/net/tcp)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].split(":")[0], 16) for row in rows if row[1] == f"0100007F:{port:04X}")


def test_a_driver_that_dies_in_mid_frame_ends_the_connection_without_a_false_frame(start_grid: StartGrid) -> None:
    grid = start_grid()
    (worker,) = grid.available(1)
    with socket.create_server(("127.0.0.1", 0)) as site:
        url = f"http://127.0.0.1:{site.getsockname()[1]}"
        command = [DRIVER / "node", STOPPED_CLIENT, DRIVER / "package", grid.endpoint, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            browser, _ = site.accept()
            os.kill(client.pid, signal.SIGSTOP)
            body = base64.b64encode(os.urandom(30_000_000))
            head = f"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {len(body)}\r\n\r\n"
            with browser:
                browser.sendall(head.encode() + body)
                until(lambda: unsent_bytes(grid.port) > 500_000, "the message has begun, and is not read")
                tree(worker.pid)["driver"].kill()
                until(lambda: worker.id not in {w.id for w in grid.state.workers()}, "the worker is gone")
            os.kill(client.pid, signal.SIGCONT)
            said, _ = client.communicate(timeout=30)
    assert said == "page.evaluate: Target page, context or browser has been closed\n"
    until(lambda: not grid.state.sessions(), "the slot is free")
