"""`applctl` without the start of a Python: one process imports it, and each command runs in a fork of that process.

A command takes 0.5 s of CPU time, nearly all for imports, and the tests run hundreds. Each fork runs one command, with
the environment, the folder and the standard streams that it is given, and ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from appliance.settings.config import Settings

_ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 120
_MESSAGE_MAX = 2**20
_OF_NO_PYTHON = {name.upper() for name in Settings.model_fields} | {"APPLIANCE_ENV", "PYTEST_CURRENT_TEST"}


def is_possible(environment: Mapping[str, str]) -> bool:
    """Return whether a command's environment differs from this process's by settings alone.

    Other variables may be meant for Python, which reads them when it starts.
    """
    names = {*environment, *os.environ} - _OF_NO_PYTHON
    return all(environment.get(name) == os.environ.get(name) for name in names)


def applctl(arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command, and return its exit code and what it printed."""
    near, far = socket.socketpair()
    reading, writing = os.pipe()
    order = json.dumps({"arguments": arguments, "environment": dict(environment), "folder": os.getcwd()})
    with near, os.fdopen(reading) as printed, tempfile.TemporaryFile("w+") as errors:
        with far, os.fdopen(writing, "w"):
            socket.send_fds(_server(), [order.encode()], [far.fileno(), writing, errors.fileno()])
        output = printed.read()  # to its end: what goes on in the background must not hold it open
        code = near.recv(16)
        errors.seek(0)
        said = errors.read()
    return subprocess.CompletedProcess(["applctl", *arguments], int(code or -signal.SIGKILL), output, said)


@cache
def _server() -> socket.socket:
    """Start the process whose forks run commands; it ends when this one closes the socket, or ends."""
    near, far = socket.socketpair(type=socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.support.forked", str(far.fileno())]
    with far:
        subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.DEVNULL, pass_fds=[far.fileno()])
    return near


def _serve(orders: socket.socket) -> None:
    import appliance.cli.application  # noqa: F401  # before the forks

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    while True:
        order, handles, _, _ = socket.recv_fds(orders, _MESSAGE_MAX, 3)
        if not order:
            return
        if os.fork() == 0:
            orders.close()
            _become(json.loads(order), *handles)
        for handle in handles:
            os.close(handle)


def _become(order: dict[str, Any], answer: int, output: int, errors: int) -> None:
    """Run a command in this process, and end it."""
    from appliance.cli import main

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.alarm(_TIMEOUT_S)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.argv = ["applctl", *order["arguments"]]
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    socket.socket(fileno=answer).send(str(int(code or 0)).encode())
    os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
