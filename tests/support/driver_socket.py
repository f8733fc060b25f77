"""The socket of a driver, in a test's own hands."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.run_dir import RunDir


@contextmanager
def listening(run_dir: Path, worker_id: str) -> Iterator[socket.socket]:
    """Listen where a worker's driver does, and leave no folder behind."""
    path = RunDir(run_dir).driver_socket(worker_id)
    path.parent.mkdir(parents=True)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1024)
            yield listener
    finally:
        shutil.rmtree(path.parent)
        if not any(path.parents[1].iterdir()):
            path.parents[1].rmdir()
