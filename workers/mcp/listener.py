"""Starts a process for each connection of the proxy, which drives one agent's browser: session.js.

Run as a file, with nothing but the standard library: it is there even where no agent ever comes.

Rules
 1. A process has its connection, and ends with it: one that does not is killed, and with it goes its browser.
 2. It may write no file, and has an address space with a bound.
 3. If this process ends, its processes end.
"""

from __future__ import annotations

import ctypes
import json
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MEMORY_MAX = 2 * 1024**3  # bytes that a process may write to: one with a large page takes 300 MB
_BACKLOG = 128
_RETRY_S = 0.5
_LISTEN_RETRY_S = 2.0  # supervisord would start it again at once, and again
_LAST_TO_LIVE = b"900"  # of -1000 to 1000: proc(5), oom_score_adj

_libc = ctypes.CDLL(None, use_errno=True)


class Listener:
    """The socket that the proxy connects to, and a process for each connection."""

    def __init__(self, path: Path, command: list[str], environment: dict[str, str]) -> None:
        """Listen at a path; `command` is what each connection gets."""
        self._socket = _listen(path)
        self._command, self._environment = command, environment
        self._connections: dict[int, tuple[socket.socket, subprocess.Popen[bytes]]] = {}
        self._ends, told = socket.socketpair()
        told.setblocking(False)
        signal.set_wakeup_fd(told.detach())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._ends, select.POLLIN)

    def run(self) -> None:
        """Serve until SIGTERM."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._socket.fileno():
                    self._accept()
                elif descriptor == self._ends.fileno():
                    self._collect()
                elif descriptor in self._connections:
                    self._end(descriptor)

    def _collect(self) -> None:
        """Close the connections of processes that have ended: this process has them open, too."""
        self._ends.recv(4096)
        for descriptor, (_, process) in list(self._connections.items()):
            if process.poll() is not None:
                self._end(descriptor)

    def _accept(self) -> None:
        try:
            connection = self._socket.accept()[0]
        except OSError as error:  # no descriptor is left
            print(f"no connection could be taken: {error}", file=sys.stderr, flush=True)
            time.sleep(_RETRY_S)
            return
        try:
            process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=connection.fileno(),
                stdout=sys.stderr,
                preexec_fn=_confine,
                restore_signals=False,  # SIGXFSZ stays ignored: a write beyond rule 2 is an error
            )
        except (OSError, subprocess.SubprocessError) as error:
            print(f"no process could be started: {error}", file=sys.stderr, flush=True)
            connection.close()
            return
        self._connections[connection.fileno()] = connection, process
        self._poll.register(connection, select.POLLRDHUP)

    def _end(self, descriptor: int) -> None:
        """End the process of a connection that either side has closed."""
        connection, process = self._connections.pop(descriptor)
        self._poll.unregister(descriptor)
        process.kill()
        process.wait()
        connection.close()


def _listen(path: Path) -> socket.socket:
    """Return a listener at a path, as soon as the machine allows that: on a full disk it does not."""
    while True:
        listener = socket.socket(socket.AF_UNIX)
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            path.chmod(0o666)  # its folder is closed to others
            listener.listen(_BACKLOG)
            return listener
        except OSError as error:
            print(f"{path} cannot be listened at: {error.strerror}", file=sys.stderr, flush=True)
            listener.close()
            time.sleep(_LISTEN_RETRY_S)


def _confine() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_MAX, _MEMORY_MAX))
    with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
        file.write(_LAST_TO_LIVE)


def main() -> None:
    """Serve as the arguments say: a socket, and JSON of a command with its environment."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    path, text = sys.argv[1:]
    order = json.loads(text)
    Listener(Path(path), order["command"], order["environment"]).run()


if __name__ == "__main__":
    main()
