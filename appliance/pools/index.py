"""Whether drivers can be fetched.

The package index is asked when the process starts, and again while it does not answer or lacks a version: a client
whose driver it does not have is refused at once, and waits for no time-out.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Collection

from appliance import logs
from appliance.errors import ApplianceError
from appliance.machine_errors import explained

log = logs.get_logger()

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 600.0
_LONGEST_LOOK_S = 15.0


class Index:
    """What the package index has, as far as it is known."""

    def __init__(
        self,
        ask: Callable[[], frozenset[str] | None],
        minors: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set what asks the index for its minor versions of Playwright (None is for all), and which ones are needed."""
        self._ask, self._minors, self._clock = ask, frozenset(minors), clock
        self._offered: frozenset[str] | None = None
        self._failure = ""
        self._due_at, self._pause_s = 0.0, _FIRST_PAUSE_S
        self._look: threading.Thread | None = None

    def refresh(self) -> None:
        """Begin to ask, in a thread, if that is due."""
        if self._clock() >= self._due_at and not (self._look and self._look.is_alive()):
            self._due_at = self._clock() + self._pause_s
            self._look = threading.Thread(target=self._take_a_look, daemon=True)
            self._look.start()

    def doubt(self) -> None:
        """Ask again soon: a driver could not be fetched."""
        self._due_at = 0.0

    def why_not(self, minor: str) -> str:
        """Return why the driver of a version cannot be fetched; "" if it can, or if that is not known."""
        if self._failure:
            return self._failure
        if self._offered is None or minor in self._offered:
            return ""
        return f"the package index that pip uses has no Playwright {minor} for this machine"

    def settle(self) -> None:
        """Wait for the answer if the index is being asked."""
        if self._look:
            self._look.join(_LONGEST_LOOK_S)

    def _take_a_look(self) -> None:
        before = self._failure
        try:
            self._offered, self._failure = self._ask(), ""
        except (ApplianceError, OSError, subprocess.SubprocessError) as error:
            self._failure = words_of(error)
        if self._failure and not before:
            log.warning("index.away", reason=self._failure)
        if before and not self._failure:
            log.info("index.reached")
        if self._failure or self._offered == frozenset():
            self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s)
        else:
            lacks_some = self._offered is not None and not self._minors <= self._offered
            self._due_at = self._clock() + _LONGEST_PAUSE_S if lacks_some else float("inf")
            self._pause_s = _FIRST_PAUSE_S


def words_of(error: ApplianceError | OSError | subprocess.SubprocessError) -> str:
    """Return why something failed, with what to do about it, for a client to read."""
    if not isinstance(error, ApplianceError):
        return explained(error)[0]
    return f"{error} ({error.hint.rstrip('.')})" if error.hint else str(error)
