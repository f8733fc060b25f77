"""What runs inside of a machine, by ssh."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.waiting import until

USER = "debian"
_TRY_S = 60.0


class Guest:
    """The system of one machine, as the user whose key its seed lets in."""

    def __init__(self, folder: Path, port: int) -> None:
        """Use a folder for the connection that the commands share, and the forwarded port."""
        self._options = [
            *("-F", "/dev/null", "-i", str(folder.parent / "key"), "-p", str(port), "-o", "BatchMode=yes"),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
            *("-o", "ControlMaster=auto", "-o", f"ControlPath={folder}/ssh", "-o", "ControlPersist=yes"),
            *("-o", f"ConnectTimeout={_TRY_S:.0f}", "-o", "ServerAliveInterval=15"),
        ]

    def run(self, command: str, *, within_s: float = 180.0, check: bool = True) -> str:
        """Run a shell command as root, and give what it printed on standard output."""
        done = self._ssh(f"sudo bash -c {_quoted(command)}", within_s)
        if check and done.returncode:
            raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    def login_message(self) -> str:
        """Log in as a person does, and give what is shown."""
        return self._ssh("", 180.0, "-tt", "-o", "ControlPath=none", input="exit\n").stdout

    def await_login(self, within_s: float) -> None:
        """Wait until a login is possible."""
        until(lambda: self._ssh("true", _TRY_S).returncode == 0, "a login is possible", within_s, every_s=0.5)

    def hang_up(self) -> None:
        """End the connection that the commands share."""
        self._ssh("", 10.0, "-O", "exit")

    def _ssh(self, command: str, within_s: float, *options: str, input: str = "") -> subprocess.CompletedProcess[str]:
        words = ["ssh", *options, *self._options, f"{USER}@127.0.0.1", *([command] if command else [])]
        try:
            return subprocess.run(words, input=input, capture_output=True, text=True, timeout=within_s, check=False)
        except subprocess.TimeoutExpired as late:
            return subprocess.CompletedProcess(words, 255, "", f"no answer within {late.timeout} s")


def _quoted(command: str) -> str:
    return "'" + command.replace("'", "'\\''") + "'"
