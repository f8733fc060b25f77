"""Checks of a machine and its appliance: what is wrong, and how to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from appliance.checks import firewall, fonts, grid, machine, pid_1, programs
from appliance.checks.check import Check, failed, ok
from appliance.checks.settings_file import check_settings_file
from appliance.checks.view import look
from appliance.errors import ApplianceError
from appliance.machine.start_stop import started_settings
from appliance.settings import config
from appliance.settings.config import Settings

__all__ = ["Check", "examine"]


def examine() -> Iterator[Check]:
    """Run all checks. The first failure is likely the cause of those after it."""
    try:
        settings = config.load()
    except ApplianceError as error:
        yield failed("settings", str(error), error.hint)
        return
    yield ok("settings", "all settings are valid")
    yield from check_settings_file()
    for check in (*machine.CHECKS, *pid_1.CHECKS, *programs.CHECKS, *fonts.CHECKS, *firewall.CHECKS):
        yield from _whatever_happens(check, settings)
    yield from _whatever_happens(_check_running, settings)


def _check_running(settings: Settings) -> Iterator[Check]:
    started = started_settings(settings)
    view = look(started or settings)
    for check in grid.CHECKS:
        yield from check(view)
    if started:
        yield from grid.check_changes(settings, started)


def _whatever_happens(check: Callable[[Settings], Iterator[Check]], settings: Settings) -> Iterator[Check]:
    """Run a check. One that cannot even be made counts as failed, and the others still run."""
    try:
        yield from check(settings)
    except (ApplianceError, OSError) as error:
        name = check.__name__.strip("_").removeprefix("check_").replace("_", " ")
        yield failed(name, str(error), getattr(error, "hint", "") or "Fix that, then run `applctl doctor` again.")
