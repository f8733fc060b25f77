"""Why a session waited, and why it ended, in plain sentences. No I/O in here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance.grid.story import EndedBy, Story
from appliance.names import WorkerId

_WHO = {
    EndedBy.CLIENT: "The client ended it",
    EndedBy.NETWORK: "Its client vanished",
    EndedBy.LIMIT: "A limit ended it",
    EndedBy.OPERATOR: "An operator ended it",
    EndedBy.OWNER: "Its owner ended it",
    EndedBy.WORKER: "Its worker ended it",
    EndedBy.DRIVER: "Its driver ended it",
    EndedBy.BROWSER: "Its browser ended it",
    EndedBy.APPLIANCE: "Its appliance ended it",
    EndedBy.GRID: "The grid refused it",
}


def sentences(story: Story, fields: Mapping[str, str], end_of_worker: str) -> list[str]:
    """Return the sentences on a session; `fields` are its record's, `end_of_worker` says why its worker ended."""
    note: dict[str, Any] = json.loads(fields.get("queued") or "{}")
    why_left = {"drained": fields.get("left", ""), "ended": end_of_worker}
    return [*_wait(story, note), *_dials(note.get("gave_back", ())), *_place(story), *_end(story, why_left)]


def _wait(story: Story, note: Mapping[str, Any]) -> Iterator[str]:
    waited = f"{(story.waited_ms or 0) / 1000:.1f} s"
    if "available" not in note:
        if story.granted_ms is not None:
            yield "It got a slot at once." if not story.waited_ms else f"It waited {waited} for its slot."
        return
    kind = f"{story.browser} worker{f' of Playwright {story.version}' if story.version else ''}"
    causes = [_taken(note["available"], kind)]
    if note["away"]:
        causes.append(f"{note['away']} {'was' if note['away'] == 1 else 'were'} draining or being started again")
    if note["drained"]:
        causes.append(f"{_counted(note['drained'], 'appliance')} {'was' if note['drained'] == 1 else 'were'} drained")
    if note["ahead"]:
        causes.append(f"{_counted(note['ahead'], 'session')} waited before it")
    if note["avoided"]:
        avoided = _counted(note["avoided"], "worker or appliance", "workers or appliances")
        causes.append(f"its proxy had not reached {avoided}")
    verb = "It waits" if story.status == "waiting" else f"It waited {waited}"
    yield f"{verb}, because when it came {_listed(causes)}."
    if story.status == "ended" and story.granted_ms is None:
        yield "It never had a slot."


def _taken(available: int, kind: str) -> str:
    if not available:
        return f"no {kind} was available"
    if available == 1:
        return f"all slots of the only available {kind} were taken"
    return f"all slots of the {available} available {kind.replace('worker', 'workers', 1)} were taken"


def _dials(gave_back: Iterable[tuple[str, str]]) -> Iterator[str]:
    blames = {"worker": "its driver did not answer", "path": "its appliance was not reached"}
    for worker, blame in gave_back:
        why = blames.get(blame, "its proxy could not dial")
        yield f"It was given worker {worker} and gave it back, because {why}."


def _place(story: Story) -> Iterator[str]:
    if story.worker and story.granted_ms is not None:
        worker = WorkerId.parse(story.worker).name or story.worker
        at = f" of appliance {story.appliance}" if story.appliance else ""
        verb = "It ran" if story.status == "ended" else "It runs"
        lasted = f" for {story.duration_ms / 1000:.1f} s" if story.duration_ms is not None else ""
        yield f"{verb} on worker {worker}{at}{lasted}."


def _end(story: Story, why_left: Mapping[str, str]) -> Iterator[str]:
    if story.status == "kept":
        yield "It has no client now, and is kept for the next one."
    if story.status != "ended":
        return
    who = _WHO.get(EndedBy(story.ended_by)) if story.ended_by in set(EndedBy) else "It ended"
    yield f"{who}: {story.end_reason.rstrip('.')}." if story.end_reason else f"{who}."
    if story.ended_by in (EndedBy.WORKER, EndedBy.DRIVER, EndedBy.BROWSER, EndedBy.LIMIT, EndedBy.APPLIANCE):
        for how, reason in why_left.items():
            if reason and reason != story.end_reason:
                yield f"Its worker {how}: {reason.rstrip('.')}."


def _counted(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
