"""The logs of an appliance's processes as files: where they are, and reading them while they are written."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from appliance.settings.config import Settings


class LogFile:
    """A log that supervisord rotates: when the file is full it is renamed, and a new one begun."""

    def __init__(self, path: Path) -> None:
        """Read from the beginning of a file, which need not exist yet."""
        self.name = path.stem
        self._path = path
        self._file: IO[str] | None = None
        self._rest = ""

    def last(self, count: int) -> list[str]:
        """Return the last lines, and go on after them."""
        return list(deque(self.new(), maxlen=count))

    def new(self) -> Iterator[str]:
        """Return the complete lines that were written since the last call, to an old file and to a new one."""
        yield from self._read()
        if self._was_rotated():
            yield from self._read()  # written between the read and the rotation
            self.close()
            self._rest = ""
            yield from self._read()

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
            self._file = None

    def _read(self) -> Iterator[str]:
        if self._file is None:
            try:
                self._file = self._path.open(errors="replace")
            except FileNotFoundError:
                return
        for line in self._file:
            self._rest += line
            if self._rest.endswith("\n"):
                yield self._rest.rstrip("\n")
                self._rest = ""

    def _was_rotated(self) -> bool:
        try:
            return self._file is not None and os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino
        except FileNotFoundError:
            return False


def names_of(settings: Settings) -> list[str]:
    """Return the names of all logs that there are or will be."""
    known = ["supervisord", "proxy", *settings.worker_names]
    known += [] if settings.redis_url else ["redis"]
    known += ["firewall"] if settings.has_firewall else []
    known += ["mcp"] if settings.mcp else []
    return sorted({*known, *(path.stem for path in settings.paths.logs.glob("*.log"))})


def last_lines(settings: Settings, name: str, count: int) -> list[str]:
    """Return the last lines of a process's log as they are."""
    file = LogFile(settings.paths.log_of(name))
    try:
        return file.last(count)
    finally:
        file.close()
