"""What `applctl status --watch` knows: one look at the grid and this machine, and what sessions move each second."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import psutil

from appliance.checks.view import GridView, look
from appliance.cli.connection import current_settings
from appliance.grid.grid import open_grid
from appliance.grid.records import ApplianceInfo
from appliance.grid.story import Story
from appliance.request_errors import StoreUnavailable

_EVENTS = 200
_RENEWALS_MISSED = 2.5  # without news for so many renewals, a session has moved nothing


class Rate(NamedTuple):
    """What is moved each second, in bytes."""

    from_client: float = 0.0
    to_client: float = 0.0


@dataclass(slots=True)
class Snapshot:
    """One look at the grid and at this machine; `cpu` in percent, memory in bytes, `at` in seconds.

    `rates` has what each session moves, by its id, as far as that is known.
    """

    view: GridView
    at: float
    appliances: list[ApplianceInfo] = field(default_factory=list)
    events: list[dict[str, str]] = field(default_factory=list)
    rates: dict[str, Rate] = field(default_factory=dict)
    cpu: float = 0.0
    memory_used: int = 0
    memory_total: int = 0


class Rates:
    """Finds out what sessions move each second. Their proxies say what they have moved with each renewal of a lease."""

    def __init__(self) -> None:
        """Begin without knowing any session."""
        self._looked_s = 0.0
        self._seen: dict[str, tuple[float, int, int]] = {}  # when a session's numbers last changed, and the numbers
        self._rates: dict[str, Rate] = {}

    def note(self, sessions: Iterable[Story], at_s: float, renewal_s: float) -> dict[str, Rate]:
        """Note a look at the sessions, and return their rates. Proxies renew every `renewal_s`."""
        before, rates, passed_s = self._seen, self._rates, max(renewal_s, at_s - self._looked_s)
        self._looked_s, self._seen, self._rates = at_s, {}, {}
        for one in sessions:
            moved = one.bytes_from_client, one.bytes_to_client
            since_s, *last = before.get(one.id, (at_s, *moved))
            if moved != tuple(last):
                self._rates[one.id] = Rate(*(max(0, a - b) / passed_s for a, b in zip(moved, last, strict=True)))
                since_s = at_s
            elif one.id in rates and at_s - since_s <= renewal_s * _RENEWALS_MISSED:
                self._rates[one.id] = rates[one.id]
            self._seen[one.id] = since_s, *moved
        return self._rates


def take_snapshot(rates: Rates) -> Snapshot:
    """Look at the grid; what is away shows in the view. Raises SettingsError."""
    snapshot = Snapshot(look(current_settings()), time.time(), cpu=psutil.cpu_percent())
    memory = psutil.virtual_memory()
    snapshot.memory_total, snapshot.memory_used = memory.total, memory.total - memory.available
    if snapshot.view.running:
        with suppress(StoreUnavailable), open_grid(snapshot.view.settings) as grid:
            snapshot.appliances, snapshot.events = grid.appliances(), grid.events(_EVENTS)
        renewal_s = snapshot.view.settings.lease_renew_interval
        snapshot.rates = rates.note(snapshot.view.sessions, time.monotonic(), renewal_s)
    return snapshot
