"""What the commands print: text and tables for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])

json_option: Callable[[Command], Command] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on standard output, and what is for people on standard error."
)


def console(as_json: bool = False) -> Console:
    """Give where text for people goes: standard output, unless JSON is printed there."""
    return Console(stderr=as_json, highlight=False, soft_wrap=True)


@contextmanager
def busy(out: Console, with_what: str) -> Iterator[None]:
    """Say with what a command is busy while it is: as a spinner on a terminal, else as a line."""
    if not out.is_terminal:
        out.print(f"{with_what} …", markup=False)
    with out.status(f"{with_what} …"):
        yield


def print_json(data: Any) -> None:
    """Print data as indented JSON on standard output; paths and enumerations become strings."""
    click.echo(json.dumps(data, indent=2, default=str))


def counted(count: int, noun: str) -> str:
    """Write how many there are of something: "1 session", "2 sessions"."""
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
    """Write a size in MiB: "312 MiB"; "" for 0, which means not known yet."""
    return f"{size / 2**20:.0f} MiB" if size else ""
