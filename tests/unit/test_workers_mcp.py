"""The process that drives an agent's browser, and who starts it, without an appliance."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance.machine import kernel
from appliance.settings.config import Settings
from proxy.mcp import process
from tests.support.waiting import until
from workers.mcp import __main__ as mcp

FOLDER = Path(mcp.__file__).parent
ORDINARY = 54321  # an account that nobody has
READS_OR_RUNS = {"filename", "paths", "path", "code"}


@pytest.fixture(scope="module")
def tools() -> dict[str, dict[str, Any]]:
    """Return the tools that a process says there are."""
    near, far = socket.socketpair()
    environment = mcp.node_environment(Settings())
    with subprocess.Popen(mcp.node_command(Settings()), stdin=far.fileno(), env=environment) as node, near:
        far.close()
        near.sendall(b'{"list": true}\n')
        with near.makefile("rb") as file:
            number, length = map(int, file.readline().split())
            listed = json.loads(file.read(length))
            assert (number, file.read()) == (0, b"closed\n")
    assert node.returncode == 0, "it ends when the proxy hangs up"
    return {tool["name"]: tool for tool in listed}


def test_an_agent_has_the_tools_for_pages(tools: dict[str, Any]) -> None:
    assert {"browser_navigate", "browser_snapshot", "browser_click", "browser_take_screenshot"} <= set(tools)
    assert "function" in tools["browser_evaluate"]["inputSchema"]["properties"]


def test_an_agent_has_no_tool_that_runs_code_or_names_files_here(tools: dict[str, Any]) -> None:
    assert not [name for name in tools if "code" in name or "webmcp" in name or "save" in name]
    assert not [name for name, tool in tools.items() if READS_OR_RUNS & set(tool["inputSchema"]["properties"])]


def test_a_tool_refuses_parameters_that_it_does_not_have(tools: dict[str, Any]) -> None:
    assert all(tool["inputSchema"]["additionalProperties"] is False for tool in tools.values())


def test_proxy_and_process_agree_on_the_longest_answer() -> None:
    assert "const FRAME_MAX_BYTES = 16 * 1024 * 1024;" in (FOLDER / "session.js").read_text()
    assert process.FRAME_MAX_BYTES == 16 * 1024 * 1024


def test_its_environment_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:secret@elsewhere")
    monkeypatch.setenv("APPLIANCE_TOKEN", "secret-secret-secret")
    for given in (mcp.node_environment(Settings()), mcp.own_environment(os.environ)):
        assert not {"REDIS_URL", "APPLIANCE_TOKEN", "APPLIANCE_SECRETS", "PATH"} & set(given)


def test_an_ordinary_account_is_still_itself_in_a_network_of_its_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    reader, writer = os.pipe()
    if not (child := os.fork()):  # not a program: another account may not read this Python
        said = "failed"
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(ORDINARY, ORDINARY, ORDINARY)
                os.setresuid(ORDINARY, ORDINARY, ORDINARY)
                kernel._prctl(kernel._PR_SET_DUMPABLE, 1)  # as a program that it starts is: its /proc/self is its own
            before = os.getuid(), os.getgid()
            kernel.leave_networks()
            (tmp_path / "made").touch()
            interfaces = [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()]
            is_itself = (tmp_path / "made").stat().st_uid == os.getuid() == before[0] and os.getgid() == before[1]
            said = f"{is_itself} {interfaces[2:]}"
        except OSError as error:
            said = str(error.strerror)
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe, os.fdopen(writer, "w"):
        said = os.read(pipe.fileno(), 1000).decode()
    if said in ("Operation not permitted", "Permission denied"):
        pytest.skip("this machine lets no ordinary account have a network of its own")
    assert said == "True ['lo']"


class Started:
    """A listener that starts a program of a test."""

    def __init__(self, folder: Path, program: str) -> None:
        """Start it, and wait until it listens."""
        self.path = folder / "mcp.sock"
        order = {"command": [sys.executable, "-c", program], "environment": {}}
        command = [sys.executable, "-I", "-S", FOLDER / "listener.py", self.path, json.dumps(order)]
        self.process = psutil.Popen(command)
        until(self.path.is_socket, "it listens")
        until(lambda: self._answers(), "it takes connections")

    def connect(self) -> socket.socket:
        """Return a connection, which has a process of its own."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(str(self.path))
        return connection

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as trial:
            return not trial.connect_ex(str(self.path))


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Started]:
    """Start processes that say their id, and then heed nothing."""
    program = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.write(0, b'%d\\n' % os.getpid())"
    started = Started(tmp_path, f"{program}\nwhile True: time.sleep(1)")
    yield started
    started.process.kill()
    started.process.wait()


def test_a_process_that_hangs_is_killed_when_the_proxy_hangs_up(hanging: Started) -> None:
    with hanging.connect() as kept, hanging.connect() as dropped:
        stays, goes = (psutil.Process(int(one.makefile().readline())) for one in (kept, dropped))
        dropped.close()
        until(lambda: not goes.is_running(), "it is killed")
        assert stays.is_running()


def test_processes_end_with_the_one_that_started_them(hanging: Started) -> None:
    with hanging.connect() as connection:
        process = psutil.Process(int(connection.makefile().readline()))
        hanging.process.send_signal(signal.SIGKILL)
        until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "it is killed")


def test_the_end_of_a_process_ends_its_connection(tmp_path: Path) -> None:
    started = Started(tmp_path, "import os; os._exit(3)")
    try:
        with started.connect() as connection:
            assert connection.recv(1) == b""
        until(lambda: not started.process.children(), "no zombie is left")
    finally:
        started.process.kill()
        started.process.wait()


def test_a_process_can_write_no_file(tmp_path: Path) -> None:
    target = tmp_path / "written"
    program = f"""
import os, resource
try:
    os.write(os.open({str(target)!r}, os.O_WRONLY | os.O_CREAT), b"x")
except OSError as error:
    os.write(0, error.strerror.encode())
"""
    started = Started(tmp_path, program)
    try:
        with started.connect() as connection:
            assert connection.makefile().read() == "File too large"
        assert target.read_bytes() == b""
    finally:
        started.process.kill()
        started.process.wait()


def test_a_listener_replaces_the_socket_of_one_that_was_killed(tmp_path: Path) -> None:
    first = Started(tmp_path, "")
    first.process.kill()
    first.process.wait()
    deadline = time.monotonic() + 10
    second = Started(tmp_path, "import os; os.write(0, b'x')")
    try:
        with second.connect() as connection:
            assert connection.recv(1) == b"x"
        assert time.monotonic() < deadline
    finally:
        second.process.kill()
        second.process.wait()


def test_a_listener_that_cannot_listen_yet_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "mcp" / "mcp.sock"
    order = json.dumps({"command": ["true"], "environment": {}})
    command = [sys.executable, "-I", "-S", str(FOLDER / "listener.py"), str(path), order]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as listener:
        assert listener.stderr
        assert listener.stderr.readline() == f"{path} cannot be listened at: No such file or directory\n"
        path.parent.mkdir()
        until(path.is_socket, "it listens")
        assert listener.poll() is None
        listener.terminate()
