"""What may be wrong with an appliance, check by check, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from appliance import config
from appliance.config import Settings
from appliance.doctor import grid, guard, machine, orphans, programs
from appliance.doctor.check import Check, failed, ok
from appliance.doctor.settings_file import check_settings_file
from appliance.errors import ApplianceError
from appliance.supervision import look, started_settings

__all__ = ["Check", "examine"]


def examine() -> Iterator[Check]:
    """Run all checks, in an order in which the first failure is likely the cause of those after it."""
    try:
        settings = config.load()
    except ApplianceError as error:
        yield failed("settings", str(error), error.hint)
        return
    yield ok("settings", "all settings are valid")
    yield from check_settings_file()
    for check in (*machine.CHECKS, *orphans.CHECKS, *programs.CHECKS, *guard.CHECKS):
        yield from _guard(check, settings)
    yield from _guard(_check_running, settings)


def _check_running(settings: Settings) -> Iterator[Check]:
    started = started_settings(settings)
    view = look(started or settings)
    for check in grid.CHECKS:
        yield from check(view)
    if started:
        yield from grid.check_changes(settings, started)


def _guard(check: Callable[[Settings], Iterator[Check]], settings: Settings) -> Iterator[Check]:
    """A check that cannot even be made is a failure of its own, and the others still run."""
    try:
        yield from check(settings)
    except (ApplianceError, OSError) as error:
        name = check.__name__.strip("_").removeprefix("check_").replace("_", " ")
        yield failed(name, str(error), getattr(error, "hint", "") or "Mend that, and run `applctl doctor` again.")
