"""A machine of its own for an appliance, and what is outside of it: two network namespaces and a cable.

The machine has its own mounts, too: there, other accounts may go where Python, the appliance and its browser
are, which may be root's home.
"""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from appliance.machine import browsers
from appliance.names import Browser
from appliance.settings import config
from appliance.settings.installation import installation_root
from tests.support.network import inside, ip

ADDRESS, ADDRESS_6 = "10.9.0.2", "fd09::2"
OUTSIDE, OUTSIDE_6 = "10.9.0.1", "fd09::1"  # private; also the machine's resolver of names
PUBLIC, PUBLIC_6 = "203.0.113.5", "2001:db8::5"  # for documentation (RFC 5737, 3849): not a private network
METADATA, METADATA_6 = "169.254.169.254", "fd00:ec2::254"

_ROOT = installation_root()
_SERVER = Path(__file__).with_name("outside.py")
_numbers = itertools.count()


class Machine:
    """The two namespaces, with servers on all addresses outside; only root can make them."""

    def __init__(self) -> None:
        """Make the namespaces, connect them, and start what is outside."""
        number = f"{os.getpid()}-{next(_numbers)}"
        self.name, self.outside_name = f"machine-{number}", f"outside-{number}"
        self._ends = ExitStack()
        try:
            self._connect()
            self._start()
        except BaseException:
            self.remove()
            raise

    def inside(self, *command: str) -> list[str]:
        """Return a command as it runs on the machine."""
        return ["nsenter", f"--target={self._holder.pid}", "--mount", "--net", *command]

    def outside(self, *command: str) -> list[str]:
        """Return a command as it runs outside."""
        return [*inside(self.outside_name), *command]

    def remove(self) -> None:
        """Remove all of it."""
        self._ends.close()

    def _connect(self) -> None:
        for name in (self.name, self.outside_name):
            ip(f"netns add {name}")
            self._ends.callback(ip, f"netns delete {name}")
        at, out = f"-n {self.name}", f"-n {self.outside_name}"
        for command in (
            f"{at} link add eth0 type veth peer name eth0 netns {self.outside_name}",
            *(f"{out} address add {one} dev eth0 nodad" for one in (f"{OUTSIDE_6}/64", PUBLIC_6, METADATA_6)),
            *(f"{out} address add {one} dev eth0" for one in (f"{OUTSIDE}/24", PUBLIC, METADATA)),
            f"{at} address add {ADDRESS}/24 dev eth0",
            f"{at} address add {ADDRESS_6}/64 dev eth0 nodad",
            *(f"{side} link set {device} up" for side in (at, out) for device in ("lo", "eth0")),
            f"{at} route add default via {OUTSIDE}",
            f"{at} -6 route add default via {OUTSIDE_6}",
        ):
            ip(command)

    def _start(self) -> None:
        hold = "; ".join(["set -e", "mount --make-rprivate /", *mounts(), "echo ready", "exec sleep infinity"])
        command = ["ip", "netns", "exec", self.name, "unshare", "--mount", "sh", "-c", hold]
        self._holder = self._popen(command)
        self._popen(self.outside(sys.executable, str(_SERVER), PUBLIC))

    def _popen(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._ends.callback(process.wait)
        self._ends.callback(process.kill)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process


def mounts() -> Iterator[str]:
    """Provide the commands that let other accounts pass to what the appliance consists of."""
    yield f"echo nameserver {OUTSIDE} > /run/resolv.{os.getpid()}"
    yield f"mount --bind /run/resolv.{os.getpid()} /etc/resolv.conf; rm /run/resolv.{os.getpid()}"
    needed: dict[Path, set[Path]] = {}
    program = browsers.find(Browser.CHROMIUM, config.load()).path
    for path in (_ROOT, Path(sys.prefix), Path(sys.base_prefix).resolve(), program.resolve().parent):
        if closed := next((p for p in (*reversed(path.parents), path) if not p.stat().st_mode & stat.S_IXOTH), None):
            needed.setdefault(closed, set()).update([path] if path != closed else path.iterdir())
    for closed, paths in needed.items():
        yield f"kept=$(mktemp -d); mount --rbind {closed} $kept; mount -t tmpfs -o mode=755 none {closed}"
        for path in sorted(paths):
            make = f"mkdir -p {path}" if path.is_dir() else f"touch {path}"
            yield f"{make}; mount --rbind $kept/{path.relative_to(closed)} {path}"
        yield "umount -l $kept; rmdir $kept"
