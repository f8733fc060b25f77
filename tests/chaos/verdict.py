"""Did a session fail only because its own worker or proxy was hit? Pure: values in, a verdict out."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.chaos.faults import Hit
from tests.chaos.journal import Story
from tests.chaos.kinds import DOOR_LOST, DOOR_SHUT, WORKER_LOST, Target
from tests.chaos.load import Outcome

AFTERMATH_S = 3.0  # from the end of a fault to the last client that learns of it
ANY_SLOT = r"[a-z]+-\d\d"


def excuse(outcome: Outcome, story: Story | None, hits: Iterable[Hit]) -> Hit | None:
    """Return the fault that excuses a session's failure; None if none does."""
    return next((hit for hit in hits if _excuses(hit, outcome, story)), None)


def _excuses(hit: Hit, outcome: Outcome, story: Story | None) -> bool:
    meets = outcome.began <= hit.ended + AFTERMATH_S and hit.began <= outcome.ended
    told = _told(hit, outcome, story.workers if story else [])
    if told is None or not meets:
        return False
    slot = re.escape(hit.slot) if hit.slot and hit.worker in (story.workers if story else []) else ANY_SLOT
    return re.search(told.format(slot=slot, appliance=re.escape(hit.appliance)), outcome.error) is not None


def _told(hit: Hit, outcome: Outcome, workers: list[str]) -> str | None:
    """Return what a session may have been told of a fault, as a pattern; None if it did not depend on what was hit."""
    kind = hit.fault.kind
    is_on_appliance = any(worker.startswith(f"{hit.appliance}.") for worker in workers)
    match kind.target:
        case Target.PROXY if outcome.appliance != hit.appliance and outcome.stage == "connect":
            depends, told = True, kind.told and rf"{DOOR_SHUT}\b{{appliance}}:|{DOOR_LOST}"
        case Target.PROXY if outcome.appliance != hit.appliance:
            depends, told = is_on_appliance, kind.told and DOOR_LOST
        case Target.PROXY:
            depends, told = True, kind.told
        case Target.REDIS | Target.ROUTE:
            depends, told = outcome.stage == "connect", kind.told
        case Target.APPLIANCE if hit.worker in workers and kind.told:  # the one that was killed meanwhile
            depends, told = True, f"{WORKER_LOST}|{kind.told}"
        case Target.APPLIANCE:
            depends, told = is_on_appliance, kind.told
        case _:
            depends, told = hit.worker in workers, kind.told
    return told if depends else None
