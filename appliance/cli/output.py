"""What commands print: text and tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from appliance.printable import printable

_PIPE_COLUMNS = 1000  # nothing is wrapped for a program that reads lines
_STYLES = {
    **dict.fromkeys(("ok", "ready", "available", "serving", "active", "running"), "green"),
    **dict.fromkeys(("standby", "starting"), "cyan"),
    **dict.fromkeys(("warning", "draining", "drained", "stopping", "waiting", "suspect"), "yellow"),
    **dict.fromkeys(("failed", "not ready", "away", "lost", "stopped", "exited", "fatal", "backoff"), "bold red"),
}


class Output:
    """Where a command prints. With --json, standard output has nothing but JSON; messages go to standard error."""

    def __init__(self, as_json: bool = False) -> None:
        """Print to standard output, or with `as_json` to standard error."""
        self.as_json = as_json
        self.exit_code = 0
        self.console = console(as_json)

    def say(self, text: str | Text = "", style: str = "") -> None:
        """Print a message. It is wrapped at words on a terminal, and not at all for a program."""
        self.console.print(text, style=style, markup=False, soft_wrap=not self.console.is_terminal)

    def warn(self, text: str) -> None:
        """Print a message in yellow."""
        self.say(text, "yellow")

    def show(self, what: RenderableType) -> None:
        """Print what --json prints as data: a table, say. Prints nothing with --json."""
        if not self.as_json:
            self.console.print(what, markup=False, soft_wrap=isinstance(what, str) and not self.console.is_terminal)

    @contextmanager
    def busy(self, doing: str) -> Iterator[None]:
        """Show what the command is doing: as a spinner on a terminal, else as a line."""
        if not self.console.is_terminal:
            self.say(f"{doing} …")
        with self.console.status(f"{doing} …"):
            yield


class _Console(Console):
    """A console that lets only itself control the terminal: what it shows comes from clients and browsers, too."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text, with escapes for characters that cannot be printed: a table leaves room for them."""
        return super().render_str(printable(text, keep="\n"), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return the parts of anything that is printed, with such escapes too."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text, keep="\n"), style, control)


def console(to_stderr: bool = False) -> Console:
    """Return a console of the terminal's width; it never wraps for a program, unless COLUMNS is set."""
    made = _Console(stderr=to_stderr, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _PIPE_COLUMNS
    return made


def print_json(data: Any) -> None:
    """Print indented JSON on standard output; paths and enumerations become strings."""
    click.echo(printable(json.dumps(data, indent=2, default=str), keep="\n"))


def print_json_line(data: Any) -> None:
    """Print JSON on one line, for output that goes on."""
    click.echo(printable(json.dumps(data, default=str, ensure_ascii=False)))


def table(*columns: str) -> Table:
    """Return an empty table in the style of all tables."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, overflow="fold")  # nothing is cut
    return made


def status_text(status: str, text: str = "") -> Text:
    """Return a status in its colour, or another text in the colour of that status."""
    return Text(text or status, _STYLES.get(status.lower(), ""))


def counted(count: int, noun: str) -> str:
    """Write a number with its noun: "1 session", "2 sessions"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """Write a duration with its two largest units: "3 h 12 min"."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= length or (unit == "s" and not parts):
            parts.append(f"{left // length} {unit}")
            left %= length
    return " ".join(parts[:2])


def mebibytes(size: int) -> str:
    """Write a size in MiB, like "312 MiB"; "" for 0, which means not known yet."""
    return f"{size / 2**20:.0f} MiB" if size else ""
