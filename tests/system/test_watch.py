"""`applctl status --watch` in a real terminal (tmux)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from appliance.grid.values import WorkerSpec, WorkerStatus
from tests.support.appliance import APPLCTL, Appliance
from tests.support.claims import spec
from tests.support.frames import PING, frame
from tests.support.waiting import until
from tests.support.wire import Wire

HEIGHT = 24

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Terminal:
    """A terminal of tmux in which a shell runs `applctl status --watch`."""

    def __init__(self, grid: Appliance, folder: Path, columns: int) -> None:
        """Start it; the shell says what the terminal's mode is before and after."""
        self._socket, self._modes = folder / "tmux", folder / "modes"
        script = f"stty -g >{self._modes}; {APPLCTL} status --watch; echo exit=$?; stty -g >>{self._modes}; exec cat"
        self.tmux("-f", os.devnull, "new-session", "-d", "-x", str(columns), "-y", str(HEIGHT), script, env=grid.env)

    def tmux(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Run a command of tmux, whose server is this test's own."""
        command = ["tmux", "-S", str(self._socket), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env, timeout=30)
        return done.stdout

    def lines(self) -> list[str]:
        """Return what the terminal shows."""
        return self.tmux("capture-pane", "-p").splitlines()

    def shows(self, text: str) -> None:
        """Wait until the terminal shows a text."""
        until(lambda: any(text in line for line in self.lines()), f"the terminal shows {text!r}")

    def keys(self, *keys: str) -> None:
        """Press keys."""
        self.tmux("send-keys", *keys)

    def watcher(self) -> psutil.Process:
        """Return the process of `applctl`."""
        shell = psutil.Process(int(self.tmux("display-message", "-p", "#{pane_pid}")))
        return shell.children()[0]

    def modes(self) -> list[str]:
        """Return the terminal's mode before and after."""
        return self._modes.read_text().split()


@pytest.fixture
def terminal(grid: Appliance, tmp_path: Path) -> Iterator[Callable[[int], Terminal]]:
    """Start one with so many columns."""
    started: list[Terminal] = []

    def start(columns: int) -> Terminal:
        started.append(Terminal(grid, tmp_path, columns))
        return started[-1]

    yield start
    for one in started:
        one.tmux("kill-server")


@pytest.fixture
def elsewhere(grid: Appliance) -> Iterator[WorkerSpec]:
    """Register a worker of another appliance, which takes no sessions."""
    name = "chromium-77"
    there = spec(f"there.{name}.abcdef", appliance="there", name=name, status=WorkerStatus.DRAINING)
    grid.state.register_worker(there)
    yield there
    grid.state.remove_worker(there.id, "the test is over")


@pytest.mark.parametrize(("columns", "how", "code"), [(80, "q", 0), (140, "SIGTERM", 143)])
def test_it_shows_the_grid_obeys_keys_and_leaves_the_terminal_as_it_was(
    columns: int, how: str, code: int, grid: Appliance, elsewhere: WorkerSpec, terminal: Callable[[int], Terminal]
) -> None:
    client = Wire(grid.port)
    assert client.upgrade("/?name=mine&label.build=4711").status == 101
    client.socket.sendall(frame(PING, b"x" * 100, mask=bytes(4)))
    (session,) = grid.state.sessions()
    shown = terminal(columns)
    shown.shows(elsewhere.name)
    shown.shows("1/5 slots")
    lines = shown.lines()
    assert max(map(len, lines)) <= columns
    assert lines[0].startswith(grid.env["APPLIANCE_NAME"]), "nothing has scrolled away"
    heads = [line.split()[0] for line in lines if line]
    assert {"WORKERS", "SESSIONS", "QUEUE", "APPLIANCES", "EVENTS"} <= set(heads)
    shown.keys("a")
    shown.shows("(a: the grid)")
    until(lambda: not any(elsewhere.name in line for line in shown.lines()), "another appliance's worker is hidden")
    shown.keys("a", "s")
    row = until(lambda: next((one for one in shown.lines() if " 106 " in one), ""), "the session's traffic is shown")
    assert row.startswith(session.id[:8])
    assert "mine build=4711" in row
    shown.keys("<", "<", "r")
    shown.shows("Rate▲")
    shown.keys("/", "no such session", "Enter")
    shown.shows("SESSIONS 0/1")
    shown.keys("Escape", "Enter")
    shown.shows(session.id)
    shown.shows("isolation")
    shown.shows(grid.state.why(session.id)[0][:40])
    shown.keys("Escape", "x")
    shown.shows(f"End session {session.id} (mine)? y/n")
    shown.keys("y")
    until(lambda: not grid.state.sessions(), "the session has ended")
    client.socket.close()
    if how == "q":
        shown.keys("q")
    else:
        shown.watcher().terminate()
    shown.shows(f"exit={code}")
    assert "WORKERS" not in "\n".join(shown.lines()), "what was there before is shown again"
    before, after = until(lambda: len(shown.modes()) == 2 and shown.modes(), "the shell goes on")  # type: ignore[misc]
    assert before == after
