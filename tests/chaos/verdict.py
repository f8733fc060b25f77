"""Did a session fail only because its own worker or proxy was hit? Pure: values in, a verdict out."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.chaos.faults import Hit
from tests.chaos.journal import Story
from tests.chaos.kinds import Target
from tests.chaos.load import Outcome

AFTERMATH_S = 3.0  # from the end of a fault to the last client that learns of it


def excuse(outcome: Outcome, story: Story | None, hits: Iterable[Hit]) -> Hit | None:
    """Give the fault that excuses a session's failure; None if none does."""
    return next((hit for hit in hits if _excuses(hit, outcome, story)), None)


def _excuses(hit: Hit, outcome: Outcome, story: Story | None) -> bool:
    told = hit.fault.kind.told
    meets = outcome.began <= hit.ended + AFTERMATH_S and hit.began <= outcome.ended
    if told is None or not meets or not _concerns(hit, outcome, story):
        return False
    return re.search(told.format(slot=re.escape(hit.slot)), outcome.error) is not None


def _concerns(hit: Hit, outcome: Outcome, story: Story | None) -> bool:
    """Say whether a session depended on what was hit."""
    match hit.fault.kind.target:
        case Target.PROXY:
            return True
        case Target.REDIS:
            return outcome.stage == "connect"
        case _:
            return story is not None and hit.worker in story.workers
