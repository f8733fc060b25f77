"""`applctl logs`: the processes' logs, also while they are written."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from appliance import config
from appliance.config import Settings
from appliance.errors import ApplianceError

_POLL_INTERVAL_S = 0.25
_COLORS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")


class UnknownLog(ApplianceError):
    """There is no log of that name."""


class LogFile:
    """A log that supervisord rotates: when the file is full it is renamed, and a new one begun."""

    def __init__(self, path: Path) -> None:
        """Take the file's path; it need not exist yet."""
        self.name = path.stem
        self._path = path
        self._file: IO[str] | None = None
        self._rest = ""

    def last(self, count: int) -> list[str]:
        """Give the last lines, and go on behind them."""
        return list(deque(self.new(), maxlen=count))

    def new(self) -> Iterator[str]:
        """Give the complete lines that were written since the last call, of an old file and of a new one."""
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


@click.command(
    short_help="Show what the processes say.",
    epilog="""
\b
Examples:
  applctl logs                      # the last lines of all
  applctl logs -f chromium-00       # one worker, as it goes
  applctl logs -n 1000 proxy | grep session.ended
""",
)
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="Show this many last lines."
)
def logs(name: str | None, follow: bool, lines: int) -> None:
    """Show the log of one process, or of all, each line with its process's name before it.

    NAME is proxy, redis, supervisord, or a worker's slot such as chromium-00.
    """
    files = _chosen(config.load(), name)
    for number, file in enumerate(files):
        for line in file.last(lines):
            _print(line, file.name if not name else "", number)
    while follow:
        time.sleep(_POLL_INTERVAL_S)
        for number, file in enumerate(files):
            for line in file.new():
                _print(line, file.name if not name else "", number)


def last_lines(settings: Settings, name: str, count: int) -> list[str]:
    """Give the last lines of a process's log; none if it has not written any."""
    file = LogFile(_folder(settings) / f"{name}.log")
    try:
        return file.last(count)
    finally:
        file.close()


def _chosen(settings: Settings, name: str | None) -> list[LogFile]:
    folder = _folder(settings)
    known = ["supervisord", "proxy", *settings.worker_slots]
    known += [] if settings.redis_url else ["redis"]
    known += [path.stem for path in folder.glob("*.log")]
    names = sorted(set(known))
    if name and name not in names:
        raise UnknownLog(f"there is no log named {name}", f"There are: {', '.join(names)}.")
    return [LogFile(folder / f"{one}.log") for one in ([name] if name else names)]


def _folder(settings: Settings) -> Path:
    return settings.run_dir / "log"


def _print(line: str, prefix: str, number: int) -> None:
    colored = click.style(f"{prefix:<12} ", fg=_COLORS[number % len(_COLORS)]) if prefix else ""
    click.echo(colored + line)
