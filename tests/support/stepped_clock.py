"""A wall clock for all processes of an appliance, which a test steps."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from appliance.machine.install.programs import apt_install

HOUR_S = 3600
SOURCE = Path(__file__).with_name("stepped_clock.c")
STEPPED_APPLCTL = Path(__file__).with_name("stepped_applctl.py")


class Clock:
    """The wall clock of all processes of an appliance, which can be stepped."""

    def __init__(self, folder: Path) -> None:
        """Use a folder for two files; the clock is as the machine's."""
        self._library, self._offset = folder / "clock.so", folder / "offset"
        command = [compiler(), "-shared", "-fPIC", "-o", self._library, SOURCE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        self._offset.write_bytes(bytes(8))

    @property
    def settings(self) -> dict[str, object]:
        """What an appliance is to be started with."""
        variables = {"LD_PRELOAD": self._library, "STEPPED_CLOCK": self._offset}
        of_browsers = " ".join(f"{name}={value}" for name, value in variables.items())
        return {**variables, "BROWSER_ENV": of_browsers, "inside": [sys.executable, "-P", STEPPED_APPLCTL]}

    def step(self, offset_s: int) -> None:
        """Let the clock differ by so many seconds from the machine's, from now on."""
        with self._offset.open("r+b") as file:  # in place: the processes have mapped it
            file.write(offset_s.to_bytes(8, sys.byteorder, signed=True))


def compiler() -> str:
    """Return a C compiler, after installing it if need be."""
    if not shutil.which("cc"):
        failed = [reason for package in ("gcc", "libc6-dev") if (reason := apt_install(package))]
        assert not failed, f"a C compiler is missing, and apt could not install one: {failed[0]}"
    return "cc"
