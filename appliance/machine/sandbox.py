"""Chromium's sandbox: whether it works here, and what an appliance does without it.

Rules
 1. CHROMIUM_SANDBOX=false is the operator's word, and true is: where that cannot be had, nothing starts.
 2. auto is true where the sandbox can be had. Where it cannot, an endpoint that only this machine reaches goes
    without, and says so; any other is not started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from appliance.errors import SettingsError
from appliance.settings.config import Settings
from appliance.settings.networks import is_loopback

_TIMEOUT_S = 20

# What the sandbox asks of the kernel: namespaces of its own (linux/sched.h: NEWUSER, NEWPID, NEWNET). Asked in one
# call, since AppArmor may grant the first one and then refuse what follows.
_TRIAL = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x10000000 | 0x20000000 | 0x40000000) != 0)"

_KERNEL = Path("/proc/sys")
_WITHOUT = "CHROMIUM_SANDBOX=false goes without the sandbox; use it only for pages that you trust."


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether Chromium runs in its sandbox; if not, why, and how to have it."""

    on: bool
    why: str = ""
    remedy: str = ""


def decide(settings: Settings, program: Path, prefix: Sequence[str] = ()) -> Decision:
    """Decide by the settings and by trying; `prefix` puts the trial under the account that runs browsers.

    Raises SettingsError where the sandbox is wanted or needed, and cannot be had.
    """
    if settings.chromium_sandbox == "false":
        return Decision(False, "CHROMIUM_SANDBOX=false", "Remove CHROMIUM_SANDBOX=false.")
    if works(program, tuple(prefix)):
        return Decision(True)
    why, remedy = _obstacle(is_root=not prefix and os.geteuid() == 0)
    if settings.chromium_sandbox == "true":
        raise SettingsError(f"CHROMIUM_SANDBOX=true is not possible here: {why}", remedy)
    if not is_loopback(settings.host):
        raise SettingsError(
            f"Chromium would run without its sandbox, and HOST is not loopback: {why}", f"{remedy} Or {_WITHOUT}"
        )
    return Decision(False, why, remedy)


@cache
def works(program: Path, prefix: tuple[str, ...] = ()) -> bool:
    """Return whether Chromium's sandbox works, by a real trial; never as root, as which Chromium refuses it."""
    if not prefix and os.geteuid() == 0:
        return False
    return _may_make_namespaces(prefix) or _starts_in_it(program, prefix)


def is_restricted_by_apparmor() -> bool:
    """Return whether this kernel gives user namespaces only to programs with an AppArmor profile, as Ubuntu's does."""
    return _kernel("kernel/apparmor_restrict_unprivileged_userns") == "1"


def _may_make_namespaces(prefix: tuple[str, ...]) -> bool:
    """Try it in a process of its own, which imports no installed package: a process cannot leave a namespace again."""
    command = [*prefix, sys.executable, "-I", "-S", "-c", _TRIAL]
    return subprocess.run(command, timeout=_TIMEOUT_S, check=False).returncode == 0


def _starts_in_it(program: Path, prefix: tuple[str, ...]) -> bool:
    """Try the browser itself, which may have what others lack: an AppArmor profile, or a setuid helper."""
    home = Path(tempfile.mkdtemp(prefix="sandbox-"))
    try:
        if prefix:
            home.chmod(0o777 | 0o1000)  # the other account makes its profile in it
        command = [*prefix, str(program), "--headless", "--disable-gpu", f"--user-data-dir={home}/profile"]
        return not subprocess.run(
            [*command, "--dump-dom", "about:blank"],
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "TMPDIR": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _obstacle(*, is_root: bool) -> tuple[str, str]:
    """Return what keeps Chromium from its sandbox, and what to do about it."""
    if is_root:
        return (
            "as root, Chromium has no sandbox",
            "Run the appliance as an ordinary user, or set SERVICE_USER and BROWSER_USER.",
        )
    if is_restricted_by_apparmor():
        return (
            "AppArmor denies the user namespaces that it needs",
            "Run `applctl setup` as root: it installs an AppArmor profile for Chromium.",
        )
    for name, wanted in (("kernel/unprivileged_userns_clone", 1), ("user/max_user_namespaces", 65536)):
        if _kernel(name) == "0":
            setting = name.replace("/", ".")
            return f"the kernel gives no user namespaces ({setting}=0)", f"As root: sysctl -w {setting}={wanted}"
    return (
        "the kernel gives it no user namespaces",
        "In a container, allow the system calls clone, setns and unshare (docker run --security-opt seccomp=FILE).",
    )


def _kernel(name: str) -> str:
    with suppress(OSError):
        return (_KERNEL / name).read_text().strip()
    return ""
