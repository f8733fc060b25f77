"""A real Redis server for tests and benchmarks, on a unix socket."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import until


def accepts(path: Path) -> bool:
    """Return whether somebody listens on a unix socket; its file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


@contextmanager
def redis_server(inside: Sequence[str] = (), listening: str = "--port 0") -> Iterator[str]:
    """Run a Redis server; returns its URL. `inside` puts it on another machine, where it may also listen by TCP."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    assert program, "redis-server is missing: `applctl setup` installs it"
    with tempfile.TemporaryDirectory(prefix="appliance-redis-") as folder:
        path = Path(folder) / "redis.sock"
        arguments = [*listening.split(), "--unixsocket", str(path), "--save", "", "--dir", folder]
        server = subprocess.Popen([*inside, program, *arguments], stdout=subprocess.DEVNULL)
        try:
            until(lambda: accepts(path), "Redis listens")
            yield f"unix://{path}"
        finally:
            server.terminate()
            server.wait()
