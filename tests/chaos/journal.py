"""What the appliances themselves say of their sessions, in the proxies' logs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Story:
    """What is known of one session: its id, the workers that it was relayed to, and how it ended."""

    session: str = ""
    workers: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)


def read(folders: Iterable[Path], seen: Mapping[str, set[str]]) -> dict[str, Story]:
    """Read the proxies' logs, the files that were rotated too; return the sessions by their names.

    A log loses lines on a full disk. So `seen` adds the workers that sessions were seen to have.
    """
    files = sorted((file for one in folders for file in one.glob("proxy.log*")), key=lambda file: file.stat().st_mtime)
    found = stories(line for file in files for line in file.read_text(errors="replace").splitlines())
    for name, workers in seen.items():
        story = found.setdefault(name, Story())
        story.workers += sorted(workers.difference(story.workers))
    return found


def stories(lines: Iterable[str]) -> dict[str, Story]:
    """Return the sessions that lines of the log (LOG_FORMAT=json) tell of, by their names."""
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
    """Yield the lines that are events; a proxy that was killed may leave half a line."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
