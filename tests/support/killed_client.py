"""A client that is killed in the midst of its session, with all of its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def killed_client(script: str) -> Iterator[None]:
    """Run a Python script, which prints "ready" and waits for input; it is killed at the block's end."""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as client:
        assert client.stdout
        assert client.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            os.killpg(client.pid, signal.SIGKILL)
