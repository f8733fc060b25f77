"""Machines on one switch, made of network namespaces; machine.py has a machine with mounts and a world outside."""

from __future__ import annotations

import os
import subprocess


def ip(command: str) -> None:
    """Run a command of iproute2."""
    subprocess.run(["ip", *command.split()], check=True)


def inside(namespace: str) -> list[str]:
    """Return the beginning of a command that runs in a namespace."""
    return ["ip", "netns", "exec", namespace]


class Switch:
    """A bridge with a port for each appliance; this machine is its host number 1."""

    def __init__(self) -> None:
        """Make the bridge; only root may."""
        number = os.getpid() % 250
        self.name, self._net = f"switch{number}", f"10.232.{number}"
        self._members: dict[str, int] = {}  # namespaces, each with the host that its cable is named after
        for command in (
            f"link add {self.name} type bridge",
            f"addr add {self.address(1)}/24 dev {self.name}",
            f"link set {self.name} up",
        ):
            ip(command)

    def address(self, host: int) -> str:
        """Return a host's address."""
        return f"{self._net}.{host}"

    def plug(self, *hosts: int) -> str:
        """Make a namespace that has these addresses; return its name."""
        name = f"{self.name}-{hosts[0]}"
        cable = self._cable(hosts[0])
        self._members[name] = hosts[0]
        for command in (
            f"netns add {name}",
            f"link add {cable} type veth peer name eth0 netns {name}",
            f"link set {cable} master {self.name} up",
            f"-n {name} link set lo up",
            f"-n {name} link set eth0 up",
            *(f"-n {name} addr add {self.address(host)}/24 dev eth0" for host in hosts),
        ):
            ip(command)
        return name

    def pull(self, host: int) -> None:
        """Pull a host's cable: from now on each side hears nothing of the other, not even an end."""
        ip(f"link set {self._cable(host)} down")

    def _cable(self, host: int) -> str:
        return f"{self.name[6:]}port{host}"

    def remove(self) -> None:
        """Remove all of it; a namespace goes later than its name, and its cable with it."""
        for name, host in self._members.items():
            ip(f"link delete {self._cable(host)}")
            ip(f"netns delete {name}")
        ip(f"link delete {self.name}")
