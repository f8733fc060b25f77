"""What the appliance itself says of its sessions, in the proxy's log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Story:
    """What the log says of one session: its id, the workers that it was relayed to, and how it ended."""

    session: str = ""
    workers: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)


def read(folder: Path) -> dict[str, Story]:
    """Read the proxy's log, the files that were rotated too; gives the sessions by their names."""
    files = sorted(folder.glob("proxy.log*"), key=lambda file: file.stat().st_mtime)
    return stories(line for file in files for line in file.read_text().splitlines())


def stories(lines: Iterable[str]) -> dict[str, Story]:
    """Give the sessions that lines of the log (LOG_FORMAT=json) tell of, by their names."""
    named: dict[str, Story] = {}
    by_id: dict[str, Story] = {}
    for event in _events(lines):
        session = event.get("session", "")
        if event.get("event") == "session.started":
            story = named.setdefault(event["name"], Story())
            story.session = session
            story.workers.append(event["worker"])
            by_id[session] = story
        elif event.get("event") == "session.ended" and session in by_id:
            by_id[session].ends.append(event["reason"])
    return named


def _events(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Give the lines that are events; a proxy that was killed may leave half a line."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
