"""A virtual machine that runs the image, under QEMU, with a disk of its own over it.

Its networks: `outside` stands for the internet, is 203.0.113.0/24 (RFC 5737), and ends in this process' machine:
ports of the guest are forwarded from loopback, and nothing else goes through. `grid`, if asked for, is a cable to
another machine.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.image.guest import Guest
from tests.support.appliance import free_port
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
IMAGE = Path(os.environ.get("IMAGE") or ROOT / "build" / "image" / "playwright-appliance.qcow2").absolute()
TOKEN = "a-token-from-user-data"  # of the machine `seeded`

# The site outside: QEMU starts a program for each connection to it (page.py). QEMU wants it in the machine's own
# network, which pages do not reach unless they are allowed to.
SITE_ADDRESS = "203.0.113.200"
SITE = f"http://{SITE_ADDRESS}/"

# The network cards' addresses, by which cloud-init tells them apart.
OUTSIDE_MAC, GRID_MAC = "52:54:00:00:00:01", "52:54:00:00:55:{:02x}"

# Under emulation, on a busy machine; everything is waited for by its condition.
BOOT_S = 600.0
STOP_S = 300.0
STEP_S = 180.0


@dataclass(frozen=True, slots=True)
class Cable:
    """One end of the network between two machines: UDP ports on loopback, and the machine's number in it."""

    own_port: int
    other_port: int
    number: int

    @property
    def mac(self) -> str:
        """The network card's address at this end."""
        return GRID_MAC.format(self.number)


class Machine:
    """One machine; it is switched on by `start`, and off for good by `destroy`."""

    def __init__(
        self,
        folder: Path,
        *,
        drives: Sequence[Path] = (),
        cable: Cable | None = None,
        memory_mib: int = 2048,
        disk_gib: int | None = None,
        firmware: Path | None = None,
        authority: Path | None = None,
    ) -> None:
        """Take a folder of its own, further drives with seeds (tests/image/seed.py), and what differs from the usual.

        `firmware` is that of UEFI in place of the BIOS. `authority` is who certified the grid, if it speaks TLS.
        """
        self.folder = folder
        self.console = folder / "console.log"
        self._ports = {"ssh": free_port(), "grid": free_port()}
        self._drives = drives
        self._cable = cable
        self._memory_mib = memory_mib
        self._firmware = firmware
        self.authority = authority
        self._process: subprocess.Popen[bytes] | None = None
        self.guest = Guest(folder, self._ports["ssh"])
        self.started_at = 0.0
        folder.mkdir(parents=True)
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", IMAGE, "-F", "qcow2", folder / "disk.qcow2"]
        subprocess.run([*create, *([f"{disk_gib}G"] if disk_gib else [])], check=True)

    @property
    def endpoint(self) -> str:
        """Where clients on this machine reach the grid."""
        return f"{'wss' if self.authority else 'ws'}://127.0.0.1:{self._ports['grid']}"

    @property
    def http(self) -> str:
        """The same, for the operations' pages."""
        return f"http://127.0.0.1:{self._ports['grid']}"

    def start(self) -> Machine:
        """Switch it on; returns at once."""
        self.console.write_bytes(b"")
        self.started_at = time.monotonic()
        with (self.folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def on_console(self, text: str, within_s: float = BOOT_S) -> str:
        """Wait until the console shows a text, and give all that it has shown."""

        def shown() -> str:
            self.require_running()
            content = self.console.read_text(errors="replace")
            return content if text in content else ""

        return until(shown, f"the console of {self.folder.name} shows {text!r}", within_s, every_s=0.2)

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a shell command in it, as root, and give what it printed on standard output."""
        return self.guest.run(command, within_s=STEP_S, check=check)

    def await_whole(self) -> None:
        """Wait until the proxy and all workers of its appliance are there."""
        ask = "applctl status >/dev/null && echo whole"
        until(lambda: self.run(ask, check=False), f"the appliance of {self.folder.name} is whole", BOOT_S, every_s=1)

    def press_power_button(self) -> None:
        """Ask the machine's system to switch it off."""
        self._ask("system_powerdown")

    def await_off(self, within_s: float = STOP_S) -> None:
        """Wait until it has switched itself off."""
        process = self._process
        assert process
        assert process.wait(within_s) == 0

    def pull_the_plug(self) -> None:
        """Switch it off, hard."""
        process = self._process
        if process and process.poll() is None:
            process.kill()
            process.wait()

    def destroy(self) -> None:
        """Switch it off, and remove its disk; the console's output stays."""
        self.guest.hang_up()
        self.pull_the_plug()
        (self.folder / "disk.qcow2").unlink(missing_ok=True)

    def require_running(self) -> None:
        """Fail with what QEMU says if it has ended."""
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"QEMU has ended: {(self.folder / 'qemu.log').read_text()}")

    def _ask(self, command: str) -> dict[str, Any]:
        """Send a command to QEMU (qemu.org/docs/master/interop/qmp-spec.html)."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(STEP_S)
            connection.connect(str(self.folder / "qmp"))
            with connection.makefile("rw") as stream:
                stream.readline()  # its greeting
                for one in ("qmp_capabilities", command):
                    stream.write(json.dumps({"execute": one}))
                    stream.flush()
                    answer: dict[str, Any] = json.loads(stream.readline())
        return answer

    def _command(self) -> list[str]:
        page = f"{sys.executable} {Path(__file__).with_name('page.py')}"
        outside = ",".join(
            [
                "user,id=outside,restrict=on,net=203.0.113.0/24",
                f"hostfwd=tcp:127.0.0.1:{self._ports['ssh']}-:22",
                f"hostfwd=tcp:127.0.0.1:{self._ports['grid']}-:8080",
                f"guestfwd=tcp:203.0.113.200:80-cmd:{page}",
            ]
        )
        command = [
            *("qemu-system-x86_64", "-accel", accelerator(), "-cpu", "max", "-smp", "2", "-m", str(self._memory_mib)),
            *("-display", "none", "-serial", f"file:{self.console}", "-qmp", f"unix:{self.folder}/qmp,server,nowait"),
            *("-netdev", outside, "-device", f"virtio-net,netdev=outside,mac={OUTSIDE_MAC}"),
            *("-device", "virtio-rng-pci"),
        ]
        if self._firmware:
            command += ["-bios", str(self._firmware)]
        if self._cable:
            own, other = self._cable.own_port, self._cable.other_port
            command += ["-netdev", f"socket,id=grid,udp=127.0.0.1:{other},localaddr=127.0.0.1:{own}"]
            command += ["-device", f"virtio-net,netdev=grid,mac={self._cable.mac}"]
        command += ["-drive", f"file={self.folder}/disk.qcow2,if=virtio,discard=unmap"]
        for drive in self._drives:
            command += ["-drive", f"file={drive},if=virtio,format=raw,readonly=on"]
        return command


_found: list[str] = []


def accelerator() -> str:
    """Return kvm where it works, else tcg (packer/accelerator)."""
    if not _found:
        asked = os.environ.get("ACCELERATOR")
        _found.append(asked or subprocess.check_output([ROOT / "packer" / "accelerator", IMAGE], text=True).strip())
    return _found[0]


MakeMachine = Callable[..., Machine]
Measured = dict[str, object]
