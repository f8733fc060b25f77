"""Who is told what happens to a proxy's sessions: nobody, unless a subclass listens."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.errors import Blame


class Observer:
    """Has a method for each thing that is worth counting; here, none does anything."""

    def claimed(self, seconds: float) -> None:
        """Redis has answered a claim, after this time."""

    def dial_failed(self, blame: Blame) -> None:
        """A worker was not reached."""

    def lease_lost(self) -> None:
        """Redis did not know a session that is relayed, so it was asserted."""

    def reaped(self, found: Mapping[str, int]) -> None:
        """The reaper has removed so many `workers`, `sessions` and `waiting`, as `Grid.reap` counts them."""
