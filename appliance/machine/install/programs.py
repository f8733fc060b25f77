"""Programs on this machine: run them, and install them with apt where that may be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from appliance.errors import ApplianceError

Say = Callable[[str], None]
How = Literal["found", "downloaded", "installed", "elsewhere", "missing"]

APT_TIMEOUT_S = 600
_VERSION_TIMEOUT_S = 20


class ProvisionError(ApplianceError):
    """Something that the appliance needs is missing and could not be installed."""


@dataclass(frozen=True, slots=True)
class Provided:
    """A program that is there and runs, and how it came: it was there, or this call put it there.

    `note` says what is otherwise.
    """

    name: str
    path: str
    version: str
    how: How
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


def run_version(program: Path, *arguments: str) -> str:
    """Return the first line that `program --version` prints; "" if it does not run."""
    try:
        done = subprocess.run(
            [program, *arguments, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip().partition("\n")[0]


def apt_install(package: str) -> str:
    """Install a Debian package. Return why it failed, or ""."""
    prefix = as_root()
    if not shutil.which("apt-get"):
        return "this system has no apt"
    if prefix is None:
        return "this user may not install packages (neither root nor sudo without a password)"
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qy", "-o", "DPkg::Lock::Timeout=120"]
    install = [*apt, "install", "--no-install-recommends", package]
    if not run(install, APT_TIMEOUT_S):
        return ""
    # The lists may be missing or old, as on a fresh machine.
    return run([*apt, "update"], APT_TIMEOUT_S) or run(install, APT_TIMEOUT_S)


def as_root() -> list[str] | None:
    """Return what to put before a command to run it as root, behind this shell's proxies; None if this user may not.

    sudo takes the proxies away, and apt knows them in lower case alone (apt-transport-http(1)).
    """
    proxies = _proxies(os.environ)
    passed = ["env", *proxies] if proxies else []
    if os.geteuid() == 0:
        return passed
    return ["sudo", "-n", *passed] if shutil.which("sudo") and not run(["sudo", "-n", "true"], 10) else None


def _proxies(environment: Mapping[str, str]) -> list[str]:
    """Return the proxies of an environment, each under both its names."""
    found: dict[str, str] = {}
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        if value := environment.get(name) or environment.get(name.upper()):
            found |= {name: value, name.upper(): value}
    return [f"{name}={value}" for name, value in found.items()]


def run(command: list[str], timeout_s: float) -> str:
    """Run a command. Return why it failed, in its own words, or ""."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {timeout_s:g} s"
    except OSError as error:
        return str(error)
    return "" if done.returncode == 0 else _reason(done.stdout.decode(errors="replace"), done.returncode)


def _reason(output: str, exit_code: int) -> str:
    """Pick what tells most: the first line that apt or Node.js marks as an error, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Error:"))]
    return (errors or lines[-1:] or [f"exit code {exit_code}"])[0]
