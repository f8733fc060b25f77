"""Which cases a run of the simulator covers."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

from tests.simulation.case import Case

# What each property of a case takes, unless told otherwise.
VALUES: dict[str, tuple[Any, ...]] = {
    "workers": (1, 2, 3, 5, 10, 20, 50),
    "concurrency": (1, 2, 5, 10),
    "quota": (5, 20, 50, 200, 500),
    "length_s": (0.1, 1.0, 10.0, 60.0, 300.0),
    "load": (0.1, 0.5, 0.9, 1.0),
    "spares": (0, 1),
}
OPEN = 0.75  # of a sample: cases that are not lost to every policy beforehand


def cases(values: dict[str, tuple[Any, ...]], most: int, largest: int, seed: int, **others: Any) -> list[Case]:
    """Return all combinations of at most `largest` sessions, or a sample of `most`.

    It is mostly of such that can be held: they tell one policy from another.
    """
    names = list(VALUES)
    every = [
        Case(**dict(zip(names, chosen, strict=True)), seed=seed, **others)
        for chosen in product(*(values.get(name) or VALUES[name] for name in names))
    ]
    every = [case for case in every if case.workers % case.appliances == 0 and case.total <= largest]
    if len(every) <= most:
        return every
    chance = random.Random(seed)
    chance.shuffle(every)
    bearable = [case for case in every if case.demand(case.least_away_s) <= case.bearable]
    lost = [case for case in every if case.demand(case.least_away_s) > case.bearable]
    count = min(len(bearable), max(round(most * OPEN), most - len(lost)))
    return bearable[:count] + lost[: most - count]
