"""A Playwright driver: the node process that launches the browser and serves it to clients.

Facts of `launch-server` (packages/playwright-core/src/cli/driver.ts and browserServerLauncherImpl.ts):
it listens and prints the endpoint, one line, when the browser is up. When its browser ends it closes its server
and, with nothing left to do, exits with code 0 (measured with 1.65: 0.1 s later, with clients or
without). SIGTERM closes the browser; if that hangs, another SIGTERM kills it. Without a browser,
SIGTERM ends the driver itself.

What it prints is not believed, for a browser that broke out may print, too: it is up when its socket, whose place the
worker has chosen, takes connections and a session there reaches the browser.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import IO

import psutil

from appliance import logs
from appliance.errors import LaunchError, SettingsError
from appliance.grid.values import DrainCause
from appliance.machine import browsers, ffmpeg, kernel, sandbox, unix_sockets
from appliance.machine.browsers import Program
from appliance.machine.cgroups import Group
from appliance.names import Browser
from appliance.run_dir import RunDir
from appliance.settings.config import Settings
from workers.launch_options import NODE_FLAGS, driver_environment, launch_options
from workers.orders import Orders
from workers.workspace import Workspace

log = logs.get_logger()

PRELOAD = Path(__file__).with_name("preload") / "index.js"
LINES_KEPT = 100  # of an end of V8's, what it ended for comes before two traces
ENDS_KEPT = 100  # the shared browser's is looked at within a moment
STOP_STEP_S = 1.0  # for each SIGTERM
SILENCE_S = 0.3  # for what a driver that has ended printed to be read

_PROCESS_ENDED = re.compile(r"appliance: process (?P<pid>\d+) ended with (?P<how>.+)")  # workers/preload/ends.js
_SURVIVED = "Warning: nobody caught an error: "  # workers/preload/uncaught.js


class Driver:
    """A driver's process with its browser."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        workspace: Workspace,
        orders: Orders,
        group: Group | None = None,
    ) -> None:
        """Start the driver, in the worker's control group if it has one.

        `orders` is woken when `is_up` or `has_ended` may have changed.
        """
        self.socket = workspace.socket
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.ends: dict[int, str] = {}  # how processes ended that the driver had started, by their ids
        self.is_told_to_end = False
        self._connections = 1  # until they could be counted
        self._orders = orders
        self._silent = [threading.Event(), threading.Event()]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=workspace.path,
            env=environment,
            text=True,
            errors="replace",
            preexec_fn=kernel.bound_to_parent(signal.SIGKILL, group.join_browser if group else None),
        )
        for stream, silent in zip((self.process.stdout, self.process.stderr), self._silent, strict=True):
            assert stream is not None  # noqa: S101  # both are pipes
            orders.start_thread("driver's output", functools.partial(self._read, stream, silent))

    def connections(self) -> int:
        """Count the connections that the driver holds: one for each session that is relayed to it.

        While they cannot be counted, for want of descriptors perhaps, return the last count: a worker that does not
        know must not take its sessions for gone.
        """
        try:
            self._connections = unix_sockets.connections_to(self.socket)
        except OSError as error:
            log.warning("driver.connections_not_counted", error=str(error), assumed=self._connections)
        return self._connections

    @property
    def is_up(self) -> bool:
        """Whether it takes connections."""
        with socket.socket(socket.AF_UNIX) as trial:
            return not trial.connect_ex(str(self.socket))

    def open_to_the_proxy(self) -> None:
        """Allow only the proxy to connect: it has this process's effective group (machine/accounts.py)."""
        is_shared = os.getegid() != os.getgid()
        if is_shared:
            os.chown(self.socket, -1, os.getegid())
        self.socket.chmod(0o660 if is_shared else 0o600)

    @property
    def has_ended(self) -> bool:
        """Whether the driver's process has ended."""
        return self.process.poll() is not None

    def browser_pid(self) -> int:
        """Return the id of the browser's process, which leads a process session; raises LaunchError."""
        for child in psutil.Process(self.process.pid).children():
            if os.getsid(child.pid) == child.pid:
                return child.pid
        raise LaunchError("the driver has no browser")

    def complaint(self) -> str:
        """Return the line of the driver's output that best explains why it failed."""
        errors = [line for line in list(self.lines) if "rror" in line]
        return (errors or list(self.lines) or ["it printed nothing"])[0].strip()

    def stop(self) -> None:
        """Ask the driver to end, ask again, and leave the rest to the workspace's end."""
        self.is_told_to_end = True
        for _ in range(2):
            if self.has_ended:
                return
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_STEP_S)
            except subprocess.TimeoutExpired:
                log.debug("driver.still_running", pid=self.process.pid)

    def report(self) -> None:
        """Log what a driver that has ended printed last."""
        for silent in self._silent:
            silent.wait(SILENCE_S)
        for line in list(self.lines):
            log.warning("driver.output", line=line)

    def _read(self, stream: IO[str], silent: threading.Event) -> None:
        for line in stream:
            text = line.rstrip()
            if ended := _PROCESS_ENDED.fullmatch(text):
                self.ends = dict([*self.ends.items(), (int(ended["pid"]), ended["how"])][-ENDS_KEPT:])
            elif text and not text.startswith("ws"):  # the endpoint
                self.lines.append(text)
                log.debug("driver.output", line=text)
                if text.startswith(_SURVIVED):
                    log.warning("driver.survived", line=text)
                    self._orders.drain("its driver had an error", DrainCause.DRIVER)
            self._orders.wake()
        silent.set()
        self.process.wait()
        self._orders.wake()


def uses_sandbox(settings: Settings, program: Program) -> bool:
    """Decide on Chromium's sandbox, and warn if it is off; raises LaunchError where it must be on, and cannot be."""
    try:
        decision = sandbox.decide(settings, program.path)
    except SettingsError as error:
        raise LaunchError(str(error), error.hint) from error
    if not decision.on:
        log.warning("browser.no_sandbox", why=decision.why)
    return decision.on


def launch_command(settings: Settings, program: Program, workspace: Workspace) -> list[str]:
    """Write the driver's configuration, and give the command that reads it; raises LaunchError."""
    in_sandbox = settings.browser_type is Browser.CHROMIUM and uses_sandbox(settings, program)
    channels = browsers.channels(settings.browser_type, settings)
    options = launch_options(settings, program.path, workspace.socket, in_sandbox, channels)
    file = workspace.path / "launch.json"
    file.touch(mode=0o600)  # BROWSER_PROXY may hold a password
    file.write_text(json.dumps(options))
    folder = browsers.driver_folder(settings)
    cli: Path = folder / "package" / "cli.js"
    command = [str(folder / "node"), *NODE_FLAGS, "-r", str(PRELOAD), str(cli), "launch-server"]
    return [*command, "--browser", settings.browser_type.value, "--config", str(file)]


def launch_environment(settings: Settings, workspace: Workspace) -> dict[str, str]:
    """Return the environment of driver and browser, with the way to ffmpeg; raises OSError."""
    folders = (workspace.path, workspace.temporary, _compile_cache(workspace))
    environment = driver_environment(os.environ, settings, *folders)
    try:
        return environment | {"PLAYWRIGHT_BROWSERS_PATH": str(ffmpeg.show_driver(settings, workspace.path))}
    except LaunchError as error:
        log.warning("browser.no_video", why=str(error), hint=error.hint)
        return environment


def _compile_cache(workspace: Workspace) -> Path:
    """Return the folder that all drivers share."""
    return RunDir(workspace.path.parents[2]).compile_cache
