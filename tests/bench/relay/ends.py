"""The two ends of a measurement: the echo server and the client, both in C, built when they are needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent
AHEAD = -15  # nice
PROXY_CORE, ENDS_CORE = 0, 1  # the proxy that is measured has one core to itself, the two ends share the other


def build(folder: Path) -> None:
    """Build `server` and `client` into a folder. Raises CalledProcessError."""
    for name in ("server", "client"):
        sources = ["-o", folder / name, SOURCES / f"{name}.c"]
        subprocess.run(["cc", "-O2", "-Wall", *sources, "-lssl", "-lcrypto"], check=True)


def missing() -> str:
    """Say how to install what is missing of compiler, HAProxy and nginx; empty if nothing is."""
    packages = {"gcc": "cc", "haproxy": "haproxy", "nginx-light": "nginx", "openssl": "openssl"}
    wanted = [package for package, program in packages.items() if not shutil.which(program)]
    if not Path("/usr/include/openssl/ssl.h").exists():
        wanted.append("libssl-dev")
    return f"apt-get install {' '.join(wanted)}" if wanted else ""


def on_core(core: int) -> Any:
    """Return what a child does before it starts: it moves to one core, and root's ahead of what else runs there.

    The kernel shares a core among sessions first, by their "autogroup" (sched(7)), then within each.
    """

    def place() -> None:
        os.sched_setaffinity(0, {core})
        if os.geteuid() == 0:
            os.setsid()
            os.setpriority(os.PRIO_PROCESS, 0, AHEAD)
            Path("/proc/self/autogroup").write_text(str(AHEAD))

    return place


@contextmanager
def echo_server(folder: Path, socket: Path) -> Iterator[tuple[int, int]]:
    """Run the echo server, on a socket and on loopback; returns its port and its process id."""
    socket.parent.mkdir(parents=True)
    server = subprocess.Popen(
        [folder / "server", socket], stdout=subprocess.PIPE, text=True, preexec_fn=on_core(ENDS_CORE)
    )
    try:
        assert server.stdout
        yield int(server.stdout.readline()), server.pid
    finally:
        server.kill()
        server.wait()


def run_client(folder: Path, *arguments: object) -> dict[str, float]:
    """Run the client to its end; returns what it prints. Raises CalledProcessError."""
    command = [folder / "client", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, preexec_fn=on_core(ENDS_CORE))
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


@contextmanager
def idle_client(folder: Path, port: int, path: str, connections: int) -> Iterator[None]:
    """Hold idle connections."""
    command = [str(folder / "client"), "idle", str(port), path, str(connections)]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=on_core(ENDS_CORE))
    assert client.stdin
    assert client.stdout
    try:
        assert client.stdout.readline() == b"ready\n", "the client does not get its connections"
        yield
    finally:
        client.stdin.close()
        client.wait(30)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used: its clock's number is that of clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)
