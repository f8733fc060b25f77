"""Whether a policy could be expected to keep (N-1)/N of a pool under the load that a run had.

Each time a quota's worth of sessions has started, a worker has to be recycled. At most `bearable` of them
may be away at once, so recycling queues; and until a worker's turn has come, the others take the sessions
that were its own. They can as long as they have some left: at most quota - 1 each, and half of that if their
ages are apart. The same goes for the sessions that start during any single absence.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from statistics import fmean

from tests.simulation.case import Case

FULL = 0.7  # of the recycling that can be borne: more leaves no room for chance


def can_be_held(case: Case, starts_s: Sequence[float], absences: Sequence[tuple[float, float]]) -> bool:
    """Tell it from the starts of all sessions, and from when until when each recycled worker was away.

    If they were away longer than with sessions spread, that is the policy's doing, and no excuse.
    """
    away_s = [end_s - start_s for start_s, end_s in absences]
    mean_s = fmean(away_s) if away_s else case.least_away_s
    excess = max(1.0, mean_s / case.least_away_s)
    lengths_s = [length_s / excess for length_s in away_s] or [case.least_away_s]
    reserve = (case.quota - 1) * (case.workers - 1) / 2
    return (
        case.demand(mean_s / excess) <= FULL * case.bearable
        and overdraft(case, starts_s, lengths_s) <= reserve
        and most_meanwhile(starts_s, absences) <= reserve * case.bearable
    )


def most_meanwhile(starts_s: Sequence[float], absences: Sequence[tuple[float, float]]) -> int:
    """Return the most sessions that started during one absence."""
    return max(
        (bisect_right(starts_s, end_s) - bisect_right(starts_s, start_s) for start_s, end_s in absences), default=0
    )


def overdraft(case: Case, starts_s: Sequence[float], lengths_s: Sequence[float]) -> int:
    """Return how many sessions the others take, at most, that belong to workers whose recycling has to queue."""
    free_s = [0.0] * case.bearable  # from when each place in the recycling is free
    worst = 0
    for number in range(len(starts_s) // case.quota):
        last = (number + 1) * case.quota - 1
        begins_s = max(starts_s[last], heapq.heappop(free_s))
        heapq.heappush(free_s, begins_s + lengths_s[number % len(lengths_s)])
        worst = max(worst, bisect_right(starts_s, begins_s) - 1 - last)
    return worst
