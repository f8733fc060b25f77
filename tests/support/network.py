"""A network of its own for a client, whose cable can be pulled, and a load balancer between it and a grid."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_numbers = itertools.count(os.getpid() % 200)


class Network:
    """A network namespace that is joined to this one by a pair of virtual interfaces."""

    def __init__(self) -> None:
        """Make the namespace; only root may."""
        number = next(_numbers) % 250
        self.name, self._cable = f"client{number}", f"cable{number}"
        self.address = f"10.231.{number}.1"  # this side's
        for command in (
            f"netns add {self.name}",
            f"link add {self._cable} type veth peer name eth0 netns {self.name}",
            f"addr add {self.address}/30 dev {self._cable}",
            f"link set {self._cable} up",
            f"-n {self.name} addr add 10.231.{number}.2/30 dev eth0",
            f"-n {self.name} link set eth0 up",
            f"-n {self.name} link set lo up",
        ):
            _ip(command)

    def inside(self, *command: str) -> list[str]:
        """Give a command as it runs inside."""
        return ["ip", "netns", "exec", self.name, *command]

    def pull(self) -> None:
        """Pull the cable: from now on each side hears nothing of the other, not even an end."""
        _ip(f"link set {self._cable} down")

    def remove(self) -> None:
        """Remove it."""
        _ip(f"netns delete {self.name}")


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


@contextmanager
def load_balancer(address: str, port: int) -> Iterator[int]:
    """Forward connections to a port of loopback, and keep each up until both sides have ended; gives its own port."""
    with socket.create_server((address, 0)) as listener:
        listener.settimeout(30)

        def serve() -> None:
            front, _ = listener.accept()
            back = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_pass, args=(front, back), daemon=True).start()
            _pass(back, front)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # a side that is reset has ended, too
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
