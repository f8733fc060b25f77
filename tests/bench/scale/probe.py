"""The probe: one proxy more, in a process of its own, whose claims are timed.

So what is measured is Redis and the machine, not how long a simulator's greenlets wait for their turn.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from appliance.grid.grid import Grid
from appliance.grid.mailbox import Mailbox
from appliance.grid.sessions import Sessions
from appliance.grid.store import Store
from appliance.request_errors import RequestError
from tests.bench.scale.clients import WANTED
from tests.bench.scale.plan import VERSION, Plan
from tests.support.announced import announcement

PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: when it began (monotonic), how long it took, and the error that refused it, or ""."""

    began: float
    took_ms: float
    refusal: str = ""


class Probe:
    """Claims a slot now and then."""

    def __init__(self, plan: Plan) -> None:
        """Use the grid; its Redis runs."""
        self._store = Store(plan.url, "scale")
        self.grid = Grid(self._store)
        self.sessions = Sessions(self.grid, plan.settings("probe"), "probe.0", self._announce)
        self._mailbox = Mailbox(self._store, "proxy", "probe.0", self.sessions.handle)
        self._thread = threading.Thread(target=self._mailbox.run, daemon=True)
        self._thread.start()

    def claims(self, seconds: float) -> list[Claim]:
        """Claim one slot after another, with a short pause between."""
        until, claims = time.monotonic() + seconds, []
        while time.monotonic() < until:
            claims.append(self._claim())
            time.sleep(PAUSE_S)
        return claims

    def close(self) -> None:
        """End it."""
        self._mailbox.close()
        self._thread.join()
        self._store.close()

    def _announce(self) -> None:
        announced = announcement("probe", proxy="probe.0", version=VERSION, ttl_ms=45_000)
        self.grid.announce(announced)

    def _claim(self) -> Claim:
        began, granted = time.monotonic(), 0.0
        try:
            with self.sessions.open(WANTED, lambda _: None):
                granted = time.monotonic()
        except RequestError as error:
            return Claim(began, (time.monotonic() - began) * 1000, type(error).__name__)
        return Claim(began, (granted - began) * 1000)
