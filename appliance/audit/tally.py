"""Count the sessions without a socket, and the sockets without a session. Pure: a series of looks in, numbers out.

Both come and go between looks, and only the proxy knows which socket serves which session. But each can be followed
from look to look. Of the sessions and sockets that are in all looks from one look to another, there are equally many,
except

 1. at the first of these looks: a session may have its slot, and not its socket yet;
 2. at the last of them: a session may have given back its slot while its socket is still closing, or
    be about to give it back.

Neither lasts longer than GRACE_S, nor is it so in most looks. So, with a first look from the first half of the series
and a last look from the second half,

 3. sessions without a socket outnumber the sockets from every first look, to most of the last ones;
 4. sockets without a session outnumber the sessions to every last look, from most of the first ones;
 5. and either is so for the latest looks by themselves, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_high

GRACE_S = 2.5  # the proxy polls for a grant whose message was lost, and waits for a client's last words, for 2 s
_LATEST = 3  # looks


@dataclass(frozen=True, slots=True)
class Tally:
    """The sessions and the sockets of one look, by names that stay the same."""

    sessions: frozenset[str]
    sockets: frozenset[str]


def sessions_without_socket(series: Sequence[Tally]) -> int:
    """Return how many sessions have no socket; certain after looks, sockets first, for 2 × GRACE_S."""
    return max(0, min(_lasting(series), max(_surplus(series[-_LATEST:]).values())))


def sockets_without_session(series: Sequence[Tally]) -> int:
    """Return how many sockets have no session; certain after looks, sockets first, for 2 × GRACE_S."""
    mirrored = [Tally(tally.sockets, tally.sessions) for tally in reversed(series)]
    return max(0, min(_lasting(mirrored), max(_surplus(mirrored[:_LATEST]).values())))


def common(names: Sequence[frozenset[str]]) -> list[str]:
    """Return the names that all looks have, sorted."""
    return sorted(frozenset.intersection(*names))


def _lasting(series: Sequence[Tally]) -> int:
    """Return by how many the sessions outnumber the sockets, by rule 3; mirrored, by rule 4."""
    surplus, looks = _surplus(series), range(len(series))
    half = max(_LATEST, (len(series) + 1) // 2)
    return median_high(min(surplus[first, last] for first in looks[:half] if first <= last) for last in looks[-half:])


def _surplus(series: Sequence[Tally]) -> dict[tuple[int, int], int]:
    """Return by how many sessions outnumber sockets, for each first and last look, of those in all looks between."""
    surplus = {}
    for first, (sessions, sockets) in enumerate((tally.sessions, tally.sockets) for tally in series):
        for last in range(first, len(series)):
            sessions, sockets = sessions & series[last].sessions, sockets & series[last].sockets
            surplus[first, last] = len(sessions) - len(sockets)
    return surplus
