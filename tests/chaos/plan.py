"""The plan of a chaos run: which faults, when, on which target. Pure: the same seed gives the same plan.

A run is a row of rounds. Each round has every kind of fault once, in an order of its own, so that they
meet each other's aftermath in ever new ways. A calm follows, in which everything must be whole again.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.kinds import KINDS, Kind

GAPS_S = (0.5, 6.0)  # between the begins of two faults: sometimes into the first one's aftermath


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: when it begins, in seconds from the begin of its round, and how long it lasts.

    `number` chooses among the kind's targets.
    """

    round: int
    at_s: float
    kind: Kind
    number: int
    lasts_s: float

    def line(self) -> str:
        """Return the fault as the log has it: the same in each run with the same seed."""
        lasts = f"for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.round:3} {self.at_s:6.2f} s  {self.kind.name:18} {self.number} {lasts:10}"


def plan(
    seed: int, seconds: float, gaps_s: tuple[float, float] = GAPS_S, kinds: Sequence[Kind] = KINDS
) -> list[list[Fault]]:
    """Plan rounds of faults, by whole rounds, for about so many seconds; at least one round."""
    chance = random.Random(seed)
    rounds: list[list[Fault]] = []
    planned_s = 0.0
    while not rounds or planned_s < seconds:
        rounds.append(_round(len(rounds) + 1, chance, gaps_s, kinds))
        planned_s += max(fault.at_s + fault.lasts_s for fault in rounds[-1])
    return rounds


def _round(number: int, chance: random.Random, gaps_s: tuple[float, float], kinds: Sequence[Kind]) -> list[Fault]:
    at_s, faults = 0.0, []
    for kind in chance.sample(kinds, len(kinds)):
        at_s += chance.uniform(*gaps_s)
        lasts_s = chance.uniform(*kind.lasts_s) if kind.lasts_s else 0.0
        faults.append(Fault(number, round(at_s, 2), kind, chance.randrange(100), round(lasts_s, 1)))
    return faults
