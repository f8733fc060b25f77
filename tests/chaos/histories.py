"""The history after a round: each session that was granted has one entry, which says truly how it ended.

Pure: values in, sentences out. What Redis lost with its data is nobody's fault; what was seen before is not lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from appliance.grid.story import EndedBy
from appliance.grid.story import Story as Entry
from tests.chaos.faults import Hit
from tests.chaos.journal import Story
from tests.chaos.kinds import Target
from tests.chaos.load import LABEL
from tests.chaos.verdict import meet
from tests.support.load import Outcome

# Redis comes back without what it held, or with what it held some moments ago.
LOSSY = ("redis.kill", "redis.unspawned", "redis.evict", "redis.delete", "redis.failover")
BEFORE_S, AFTER_S = 2.0, 10.0  # of a session's end: it may be seen too late, or be released while nobody answers

# Who may have ended a session that failed of a fault. Its client leaves when it is hurt: so the client always may.
BY_CLIENT = {EndedBy.CLIENT, EndedBy.NETWORK}
BY_ITS_WORKER = {EndedBy.WORKER, EndedBy.DRIVER, EndedBy.BROWSER}
FITTING = {
    Target.WORKER: BY_CLIENT | BY_ITS_WORKER,
    Target.PROXY: BY_CLIENT | {EndedBy.APPLIANCE, EndedBy.GRID},
    Target.AGENTS: BY_CLIENT,
    Target.REDIS: BY_CLIENT | {EndedBy.GRID, EndedBy.APPLIANCE},
    Target.ROUTE: BY_CLIENT | {EndedBy.GRID, EndedBy.APPLIANCE},
    Target.APPLIANCE: BY_CLIENT | BY_ITS_WORKER | {EndedBy.APPLIANCE, EndedBy.GRID, EndedBy.LIMIT},
    Target.CLIENT: BY_CLIENT | BY_ITS_WORKER | {EndedBy.LIMIT},
}


def problems(
    entries: Collection[Entry],
    seen: Mapping[str, Entry],
    stories: Mapping[str, Story],
    outcomes: Iterable[Outcome],
    hits: Collection[Hit],
) -> Iterator[str]:
    """Yield what is wrong with the history: `entries` is what Redis has now, `seen` what it had before."""
    for name, count in Counter(entry.name or entry.id for entry in entries).items():
        if count > 1:
            yield f"session {name} has {count} entries in the history: {[e for e in entries if e.name == name]}"
    by_name = {entry.name: entry for entry in (*seen.values(), *entries)}
    for outcome in outcomes:
        story, entry = stories.get(outcome.name), by_name.get(outcome.name)
        if entry is None:
            if story and story.session and not _may_be_lost(outcome, hits):
                yield f"session {outcome.name} ({story}) is not in the history; its client: {outcome}"
        elif wrong := _what_is_wrong(entry, outcome, hits):
            yield f"the history says of {outcome.name} {wrong}: {entry}; its client: {outcome}"


def _may_be_lost(outcome: Outcome, hits: Collection[Hit]) -> bool:
    """Return whether Redis lost its data when a session ended."""
    since, until = outcome.ended - BEFORE_S, outcome.ended + AFTER_S
    return any(hit.fault.kind.name in LOSSY and hit.began < until and hit.ended > since for hit in hits)


def _what_is_wrong(entry: Entry, outcome: Outcome, hits: Collection[Hit]) -> str:
    if entry.labels != {LABEL: outcome.name}:
        return "other labels"
    if not entry.end_reason or entry.ended_by not in set(EndedBy):
        return "no reason"
    if not outcome.error and entry.ended_by not in BY_CLIENT and not _met_any(outcome, hits):
        return "that another than its client ended it"
    met = [hit.fault.kind for hit in hits if meet(hit, outcome)]
    if outcome.error and not any(entry.ended_by in FITTING[kind.target] for kind in met):
        return f"an end that does not fit {', '.join(kind.name for kind in met) or 'any fault'}"
    return ""


def _met_any(outcome: Outcome, hits: Collection[Hit]) -> bool:
    """Return whether there was any fault at a session's end: its proxy may have had no time to say that it was well."""
    return any(hit.began < outcome.ended + BEFORE_S and hit.ended > outcome.ended - BEFORE_S for hit in hits)
