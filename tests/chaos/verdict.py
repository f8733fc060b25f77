"""Did a session fail only because its own worker or proxy was hit? Pure: values in, a verdict out."""

from __future__ import annotations

import re
from collections.abc import Collection

from tests.chaos.faults import Hit
from tests.chaos.journal import Story
from tests.chaos.kinds import (
    AGENT_TOLD,
    AGENTS_LOST,
    AGENTS_PROXY_LOST,
    CDP_LOST,
    DOOR_LOST,
    DOOR_SHUT,
    KEPT_LOST,
    NO_THREADS,
    STOPPED_WORKERS,
    WORDLESS,
    WORKER_LOST,
    WORKER_SILENT,
    Target,
)
from tests.support.load import Outcome

AFTERMATH_S = 3.0  # from the end of a fault to the last client that learns of it
ANY_NAME = r"[a-z]+-\d\d"


def excuse(outcome: Outcome, story: Story | None, hits: Collection[Hit]) -> Hit | None:
    """Return the fault that excuses a session's failure; None if none does."""
    met = [hit for hit in hits if meet(hit, outcome)]
    workers = story.workers if story else []
    return next((hit for hit in met if _excuses(hit, outcome, workers, _also_told(hit, met))), None)


def _also_told(hit: Hit, met: Collection[Hit]) -> list[str]:
    """Return what a lost worker's sessions may be told instead: another fault hinders its word, or news of its end."""
    kinds = [other.fault.kind for other in met]
    has_no_redis = any(kind.target in (Target.REDIS, Target.ROUTE) for kind in kinds)
    is_stopped = any(other.worker == hit.worker and other.fault.kind.name in STOPPED_WORKERS for other in met)
    wordless = [WORDLESS] if has_no_redis or is_stopped else []
    # What relays to the worker does not see that its connection has ended, until the worker's heartbeat is missed: it
    # stands still, or is cut off. Or Redis has lost the last heartbeat of a worker that stands still.
    is_unseen = any(
        kind.target is Target.ROUTE or (kind.target is Target.PROXY and kind.act == "freeze") for kind in kinds
    )
    silent = [WORKER_SILENT] if is_unseen or (has_no_redis and is_stopped) else []
    return [*wordless, *silent, KEPT_LOST]


def meet(hit: Hit, outcome: Outcome) -> bool:
    """Return whether a session was there while a fault or its aftermath lasted."""
    return outcome.began <= hit.ended + AFTERMATH_S and hit.began <= outcome.ended


def _excuses(hit: Hit, outcome: Outcome, workers: list[str], also_told: list[str]) -> bool:
    texts = [told] if (told := _told(hit, outcome, workers)) else []
    if hit.worker in workers:
        texts += also_told
    if texts:
        texts += _told_by_its_kind(hit, outcome)
    is_one_workers = hit.worker in workers and hit.fault.kind.target is Target.WORKER
    name = re.escape(hit.worker_name) if is_one_workers else ANY_NAME
    told = "|".join(texts).format(worker=name, appliance=re.escape(hit.appliance))
    return bool(texts) and re.search(told, outcome.error) is not None


def _told_by_its_kind(hit: Hit, outcome: Outcome) -> list[str]:
    """Return what clients of a kind may be told of any fault that harms them."""
    if outcome.speaks_cdp:
        return [CDP_LOST]
    if outcome.is_agent:
        return [AGENT_TOLD, AGENTS_PROXY_LOST] if hit.fault.kind.target is Target.PROXY else [AGENT_TOLD]
    return []


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
        case Target.AGENTS:
            depends, told = outcome.is_agent and outcome.appliance == hit.appliance, kind.told
        case Target.APPLIANCE if outcome.is_agent and outcome.appliance == hit.appliance:
            depends, told = True, kind.told and f"{AGENTS_LOST}|{kind.told}"
        case Target.REDIS | Target.ROUTE:
            depends, told = outcome.stage == "connect", kind.told
        case Target.APPLIANCE if hit.worker in workers and kind.told:  # the one that was killed meanwhile
            depends, told = True, f"{WORKER_LOST}|{kind.told}"
        case Target.APPLIANCE if outcome.stage == "connect" and outcome.appliance == hit.appliance and not workers:
            depends, told = True, kind.told and NO_THREADS
        case Target.APPLIANCE:
            depends, told = is_on_appliance, kind.told
        case _:
            depends, told = hit.worker in workers, kind.told
    return told if depends else None
