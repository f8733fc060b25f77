"""Which appliances' workers a proxy reaches, as its dials show.

Rules
 1. A dial that fails for want of something in this proxy (Blame.SELF) says nothing of any worker. The proxy refuses all
    sessions until a probe of its own succeeds.
 2. Where the path to an appliance fails (Blame.PATH), its workers are avoided until a probe succeeds.
 3. A worker that is to blame becomes suspect. But if REFUTATIONS workers of an appliance vouch for themselves after
    this proxy suspected them, and it has reached none of that appliance since, they are right: the path is to blame.
 4. Whatever succeeds clears the doubt: a probe, or a session's dial. By rule 2, so does a probe that fails for the
    worker's own fault: its appliance has said so, and so is reached.
 5. By rule 1, so does a probe that fails for any fault but this proxy's: it could dial. If the path is at fault, rule 2
    holds from then on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from appliance import logs
from appliance.errors import Blame, DialFailed
from appliance.request_errors import CannotDial

log = logs.get_logger()

EVERYWHERE = ""  # instead of an appliance's name: no worker can be dialled
REFUTATIONS = 2
PATIENCE_S = 3.0  # how long sessions wait for an appliance whose proxy may only be restarting


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an appliance's workers are not reached, and since when (monotonic seconds).

    `blame` is what the failed dial was blamed on. `dialled` is the worker that was dialled, and `appliance` its own.
    """

    reason: str
    blame: Blame
    since: float
    appliance: str
    dialled: str


class Reach:
    """Which appliances one proxy reaches."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with every appliance in reach."""
        self._clock = clock
        self._refutations: Counter[str] = Counter()
        self._on_change: list[Callable[[], None]] = []
        self.troubles: dict[str, Trouble] = {}

    def on_change(self, call: Callable[[], None]) -> None:
        """Call a function whenever an appliance gets out of reach or back into it."""
        self._on_change.append(call)

    @property
    def avoided(self) -> list[str]:
        """The appliances to avoid, as `Grid.claim` names them."""
        return [f"{name}/" for name in self.troubles if name != EVERYWHERE]

    def failed(self, appliance: str, worker: str, error: DialFailed) -> Blame:
        """Record a failed dial. Return what is to blame."""
        if error.blame is Blame.SELF:
            self._doubt(EVERYWHERE, error, appliance, worker)
            return Blame.SELF
        if error.blame is Blame.WORKER and self._refutations[appliance] < REFUTATIONS:
            return Blame.WORKER
        self._doubt(appliance, error, appliance, worker)
        return Blame.PATH

    def refuted(self, appliance: str) -> None:
        """Record that a worker which this proxy suspected answers."""
        self._refutations[appliance] += 1

    def succeeded(self, appliance: str) -> None:
        """Record that a worker of an appliance was reached."""
        if not self._refutations and not self.troubles:
            return
        self._refutations.pop(appliance, None)
        cleared = [name for name in (appliance, EVERYWHERE) if self.troubles.pop(name, None)]
        if cleared:
            log.info("workers.reached", appliance=appliance)
            self._tell()

    def probe_failed(self, name: str, error: DialFailed) -> None:
        """Record that the probe for a trouble failed: rules 4 and 5."""
        if (trouble := self.troubles.get(name)) is None:
            return
        if name != EVERYWHERE:
            if trouble.blame is Blame.PATH and error.blame is Blame.WORKER:
                self.succeeded(name)
        elif error.blame is not Blame.SELF:
            if error.blame is Blame.PATH:
                self._doubt(trouble.appliance, error, trouble.appliance, trouble.dialled)
            self.forget(EVERYWHERE)

    def forget(self, name: str) -> None:
        """Forget a trouble: it is over, or its appliance is gone."""
        if self.troubles.pop(name, None):
            self._tell()

    def refusal(self) -> CannotDial | None:
        """Return why every session is refused; None if some may be served."""
        trouble = self.troubles.get(EVERYWHERE)
        return (
            CannotDial(f"This appliance cannot reach its workers: {trouble.reason.rstrip('.')}.") if trouble else None
        )

    def refusal_of_the_unreachable(self, patiently: bool = True) -> CannotDial | None:
        """Return why a session is refused if only avoided appliances serve it; None while it may wait."""
        named = {name: trouble for name, trouble in self.troubles.items() if name != EVERYWHERE}
        if not named:
            return self.refusal()
        since = max(trouble.since for trouble in named.values())
        if patiently and self._clock() - since < PATIENCE_S:
            return None
        reasons = "; ".join(f"{name}: {trouble.reason.rstrip('.')}" for name, trouble in sorted(named.items()))
        return CannotDial(f"This appliance cannot reach the workers of {reasons}.")

    def _doubt(self, name: str, error: DialFailed, appliance: str, dialled: str) -> None:
        if name in self.troubles:
            return
        self.troubles[name] = Trouble(str(error), error.blame, self._clock(), appliance, dialled)
        log.error("workers.not_reached", appliance=name or "any", blame=error.blame.value, error=str(error))
        self._tell()

    def _tell(self) -> None:
        for call in self._on_change:
            call()
