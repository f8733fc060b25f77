"""Workers' folders: whose lock is held is left alone, whose lock is free is swept with its processes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from workers import leftovers, workspace
from workers.leftovers import MARKER, BrowserSession

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
# A browser in a session of its own, whose helper wipes its environment as Chromium's zygote does.
SESSION = [
    sys.executable,
    "-c",
    "import os, sys, subprocess, time\n"
    f"subprocess.Popen([sys.executable, *{SLEEP[1:]!r}], env={{}})\n"
    "time.sleep(600)",
]


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start_process(command: list[str], marker: Path | None, **options: bool) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **({MARKER: str(marker)} if marker else {})}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, **options)  # type: ignore[call-overload]
        assert process.stdout.read(2) == b"up"
        started.append(process)
        return process

    yield start_process
    for process in started:
        for child in [*_children(process.pid), process]:
            if child.is_running():
                child.kill() if isinstance(child, psutil.Process) else process.kill()
        process.wait(10)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
