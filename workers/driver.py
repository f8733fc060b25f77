"""A Playwright driver: the node process that launches the browser and serves it to clients.

Facts of `launch-server` (packages/playwright-core/src/cli/driver.ts and browserServerLauncherImpl.ts):
it prints the endpoint, one line, when the browser is up. When its browser ends it closes its server
and, with nothing left to do, exits with code 0 (measured with 1.65: 0.1 s later, with clients or
without). SIGTERM closes the browser; if that hangs, another SIGTERM kills it. Without a browser,
SIGTERM ends the driver itself.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil

from appliance import browsers, ffmpeg, kernel, logs
from appliance.browsers import Program
from appliance.config import Settings
from appliance.errors import LaunchError
from appliance.models import Browser
from workers.launch_options import NODE_FLAGS, driver_environment, launch_options
from workers.workspace import Workspace

log = logs.get_logger()

LINES_KEPT = 30
STOP_STEP_S = 1.0  # for each SIGTERM


class Driver:
    """A driver's process with its browser."""

    def __init__(
        self, command: list[str], environment: dict[str, str], workspace: Workspace, wake: Callable[[], None]
    ) -> None:
        """Start the driver; `wake` is called when `endpoint` or `has_ended` may have changed."""
        self.endpoint = ""
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._wake = wake
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=workspace.path,
            env=environment,
            text=True,
            errors="replace",
            preexec_fn=kernel.bound_to_parent(signal.SIGKILL),
        )
        for stream in (self.process.stdout, self.process.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def connections(self) -> int:
        """Count the connections that the driver holds: one for each session that is relayed to it."""
        try:
            with kernel.as_real_group():
                found = psutil.Process(self.process.pid).net_connections("tcp")
        except psutil.Error:
            return 0
        return sum(connection.status == psutil.CONN_ESTABLISHED for connection in found)

    @property
    def has_ended(self) -> bool:
        """Tell whether the driver's process has ended."""
        return self.process.poll() is not None

    def browser_pid(self) -> int:
        """Give the id of the browser's process, which leads a session of its own; raises LaunchError."""
        for child in psutil.Process(self.process.pid).children():
            if os.getsid(child.pid) == child.pid:
                return child.pid
        raise LaunchError("the driver has no browser")

    def complaint(self) -> str:
        """Give the line of the driver's output that says best why it failed."""
        errors = [line for line in list(self.lines) if "rror" in line]
        return (errors or list(self.lines) or ["it printed nothing"])[0].strip()

    def stop(self) -> None:
        """Ask the driver to end, ask again, and leave the rest to the workspace's end."""
        for _ in range(2):
            if self.has_ended:
                return
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_STEP_S)
            except subprocess.TimeoutExpired:
                log.debug("driver.still_running", pid=self.process.pid)

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            text = line.rstrip()
            if text.startswith("ws://") and not self.endpoint:
                self.endpoint = text
            elif text:
                self.lines.append(text)
                log.debug("driver.output", line=text)
            self._wake()
        self.process.wait()
        self._wake()


def uses_sandbox(settings: Settings) -> bool:
    """Decide on Chromium's sandbox, and warn if it is off."""
    asked = settings.chromium_sandbox
    sandbox = browsers.sandbox_works() if asked == "auto" else asked == "true"
    if not sandbox:
        log.warning("browser.no_sandbox", why=_why_no_sandbox(asked))
    return sandbox


def _why_no_sandbox(asked: str) -> str:
    if asked == "false":
        return "CHROMIUM_SANDBOX=false"
    if os.geteuid() == 0:
        return "Chromium has no sandbox as root; run the appliance as an ordinary user"
    return "the kernel forbids user namespaces"


def launch_command(settings: Settings, program: Program, workspace: Workspace) -> list[str]:
    """Write the driver's configuration, and give the command that reads it; raises LaunchError."""
    sandbox = settings.browser_type is Browser.CHROMIUM and uses_sandbox(settings)
    path = "/" + secrets.token_urlsafe(24)
    options = launch_options(settings, program.path, _address(settings.private_hostname), path, sandbox)
    file = workspace.path / "launch.json"
    file.write_text(json.dumps(options))  # the folder is closed to others, and so is the path in here
    folder = browsers.driver_folder(settings)
    cli: Path = folder / "package" / "cli.js"
    command = [str(folder / "node"), *NODE_FLAGS, str(cli), "launch-server"]
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
    """Give the folder that all drivers share: beside the one of the workspaces, in which everything is swept."""
    return workspace.path.parents[1] / "compile-cache"


def _address(hostname: str) -> str:
    """Give the address of PRIVATE_HOSTNAME to listen on; raises LaunchError."""
    try:
        found = socket.getaddrinfo(hostname, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise LaunchError(
            f"PRIVATE_HOSTNAME is {hostname}, which has no address: {error.strerror}",
            "Set it to a name or address of this machine that the grid's other appliances reach.",
        ) from error
    return str(found[0][4][0])
