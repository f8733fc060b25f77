"""Whether clients of other Playwright versions get a driver on demand, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from appliance.checks.check import Check, ok, warning
from appliance.checks.view import GridView
from appliance.machine import drivers
from appliance.settings.config import Settings
from appliance.settings.pools import AUTO

OFF = "Clients of other Playwright versions are refused, unless POOLS serves them (DRIVERS=none)."


def describe(settings: Settings, lacking: Mapping[str, str]) -> str:
    """Return what a client of another version gets; `lacking` says why drivers cannot be had, by version."""
    minors = drivers.on_demand(settings)
    there = [minor for minor in minors if minor not in lacking]
    lacking = {minor: lacking[minor] for minor in minors if minor in lacking}
    reasons = dict.fromkeys(lacking.values())
    if not minors:
        return OFF
    if not there:
        return f"Clients of other Playwright versions are refused, unless POOLS serves them: {'; '.join(reasons)}."
    but = f" Not those of {', '.join(lacking)}: {'; '.join(reasons)}." if lacking else ""
    return (
        f"Clients of other Playwright versions get a worker on demand: {', '.join(there)}. Their drivers are fetched "
        f"when the first one comes.{but} DRIVERS=1.64,1.62 fixes the versions, and DRIVERS=none switches it off."
    )


def check_on_demand(view: GridView) -> Iterator[Check]:
    """The versions that clients may get on demand can be had. Those of the default need not."""
    if not view.running or view.redis_error:
        return
    found = describe(view.settings, view.lacking_drivers)
    if view.lacking_drivers and AUTO not in view.settings.drivers:
        yield warning("versions", found, "Fix that, or take these versions out of DRIVERS.")
    else:
        yield ok("versions", found)
