"""Why a session waited, and why it ended, in plain sentences. No I/O in here."""

from __future__ import annotations

import json
from collections import Counter
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
    causes = _causes(Counter({name: count for name, count in note.items() if isinstance(count, int)}), story)
    verb = "It waits" if story.status == "waiting" else f"It waited {waited}"
    yield f"{verb}, because when it came {_listed(causes)}."
    if story.status == "ended" and story.granted_ms is None:
        yield "It never had a slot."


def _causes(found: Counter[str], story: Story) -> list[str]:
    """Return what kept it from a slot. A proxy of an earlier version counted fewer things."""
    kind = f"{story.browser} worker{f' of Playwright {story.version}' if story.version else ''}"
    if found["wished"]:
        return [f"no {kind} was there, and an appliance had to fetch its driver or start one (DRIVERS)"]
    causes = []
    if not found["available"]:
        causes.append(f"no {kind} was available")
    taken = found["available"] - found["suspect"] - found["overdue"] - found["free"]
    if taken > 0:
        causes.append(_taken(taken, found["available"], kind))
    if found["suspect"]:
        causes.append(f"{_were(found['suspect'], kind)} suspect because a dial had failed")
    if found["overdue"]:
        causes.append(f"{_were(found['overdue'], kind)} silent for too long")
    if found["away"]:
        causes.append(f"{_were(found['away'], 'worker')} draining or being started again")
    if found["drained"]:
        causes.append(f"{_were(found['drained'], 'appliance')} drained")
    if found["ahead"]:
        causes.append(f"{_counted(found['ahead'], 'session')} waited before it")
    if found["avoided"]:
        avoided = _counted(found["avoided"], "worker or appliance", "workers or appliances")
        causes.append(f"its proxy had not reached {avoided}")
    return causes or ["no slot was free"]


def _taken(taken: int, available: int, kind: str) -> str:
    if taken < available:
        return f"all slots of {_counted(taken, f'available {kind}')} were taken"
    if available == 1:
        return f"all slots of the only available {kind} were taken"
    return f"all slots of the {_counted(available, f'available {kind}')} were taken"


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


def _were(count: int, one: str) -> str:
    return f"{_counted(count, one)} {'was' if count == 1 else 'were'}"


def _counted(count: int, one: str, several: str = "") -> str:
    plural = several or one.replace("worker", "workers", 1) if "worker" in one else f"{one}s"
    return f"{count} {one if count == 1 else plural}"


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
