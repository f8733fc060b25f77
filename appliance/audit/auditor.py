"""The audit: look, compare, and look again until each difference has vanished or lasted too long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.audit import processes, relays, state
from appliance.audit.difference import Difference
from appliance.audit.machine import survey
from appliance.audit.relays import Look
from appliance.audit.snapshot import read
from appliance.grid.grid import Grid
from appliance.settings.config import Settings

LOOK_INTERVAL_S = 0.3
PATIENCE_S = 15.0  # however long the appliance's own intervals are


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found, and how many sessions and workers Redis knew."""

    differences: list[Difference]
    sessions: int
    workers: int


def audit(settings: Settings, grid: Grid) -> Audit:
    """Compare Redis with this machine. Raises StoreUnavailable.

    `settings` are those with which the appliance was started. If all agrees, that takes one look, a fraction of a
    second. A difference is looked at again until it vanishes or has lasted for its `settle_s`.
    """
    looks = [_look(settings, grid)]
    while left := compare(looks, settings):
        if looks[-1].at_s - looks[0].at_s >= min(PATIENCE_S, max(difference.settle_s for difference in left)):
            break
        time.sleep(LOOK_INTERVAL_S)
        looks.append(_look(settings, grid))
    return Audit(left, len(looks[-1].snapshot.sessions), len(looks[-1].snapshot.workers))


def audit_state(settings: Settings, grid: Grid) -> list[Difference]:
    """Compare only what Redis says, with itself; return the differences that last. Raises StoreUnavailable."""
    started_s, left = time.monotonic(), {d.key: d for d in state.differences(read(grid), settings)}
    while left and time.monotonic() - started_s < min(PATIENCE_S, max(d.settle_s for d in left.values())):
        time.sleep(LOOK_INTERVAL_S)
        found = {d.key: d for d in state.differences(read(grid), settings)}
        left = {key: found[key] for key in left if key in found}
    return list(left.values())


def compare(looks: Sequence[Look], settings: Settings) -> list[Difference]:
    """Return the differences that all looks have, in the words of the latest."""
    found = [{d.key: d for d in _differences(look, settings)} for look in looks]
    steady = set(found[0]).intersection(*found)
    return [*(d for key, d in found[-1].items() if key in steady), *relays.differences(looks, settings)]


def _differences(look: Look, settings: Settings) -> Iterator[Difference]:
    """Yield the differences that one look shows."""
    yield from state.differences(look.snapshot, settings)
    yield from processes.differences(look.snapshot, look.machine, settings)


def _look(settings: Settings, grid: Grid) -> Look:
    """Look at the machine first, then at Redis: tally.py relies on this order."""
    return Look(time.monotonic(), survey(settings), read(grid))
