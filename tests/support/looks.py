"""What a test sees of processes and folders that change while it looks: what goes meanwhile is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil


def runs(process: psutil.Process) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def command_of(process: psutil.Process) -> list[str]:
    """Return a process's arguments, none if it has ended."""
    with suppress(psutil.NoSuchProcess):
        return list(process.cmdline())
    return []


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Return a process's environment, an empty one if it has ended."""
    with suppress(psutil.NoSuchProcess):
        return dict(process.environ())
    return {}


def paths_in(folder: Path) -> Iterator[Path]:
    """Yield all that is below a folder; Path.rglob fails if a folder is removed meanwhile."""
    for above, folders, files in os.walk(folder):
        yield from (Path(above, name) for name in (*folders, *files))


def status_of(path: Path) -> os.stat_result | None:
    """Return what lstat(2) says of a path, None if it is gone."""
    with suppress(FileNotFoundError):
        return path.lstat()
    return None


def bytes_of(file: Path) -> bytes:
    """Return a file's content, none if it is gone."""
    with suppress(FileNotFoundError):
        return file.read_bytes()
    return b""
