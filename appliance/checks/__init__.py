"""Checks of a machine and its appliance: what is wrong, and how to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Flag, auto

from appliance.checks import firewall, fonts, machine, pid_1, programs, redis, running, settings_file
from appliance.checks.check import Check, failed, ok
from appliance.errors import ApplianceError, SettingsError
from appliance.settings import config
from appliance.settings.config import Settings

__all__ = ["Check", "When", "examine", "require"]


class When(Flag):
    """When a check is required. The doctor makes all of them, whether the appliance runs or not."""

    DOCTOR = 0
    SETUP = auto()  # before anything is stopped or installed
    START = auto()  # when everything is installed, before the processes start


# In the doctor's order: a failure is likely the cause of those after it.
CHECKS: tuple[tuple[Callable[[Settings], Iterator[Check]], When], ...] = (
    (settings_file.check_settings_file, When.DOCTOR),
    (machine.check_run_dir, When.DOCTOR),
    (machine.check_disk, When.SETUP),
    (machine.check_memory, When.DOCTOR),
    (machine.check_shared_memory, When.DOCTOR),
    (machine.check_open_files, When.DOCTOR),
    (machine.check_user_ids, When.START),
    (machine.check_certificates, When.SETUP),
    (machine.check_port, When.SETUP | When.START),
    (machine.check_browser_proxy, When.DOCTOR),
    (pid_1.check_pid_1, When.DOCTOR),
    (programs.check_packages, When.DOCTOR),
    (programs.check_driver, When.DOCTOR),
    (programs.check_pools, When.SETUP),
    (programs.check_browsers, When.DOCTOR),
    (programs.check_ffmpeg, When.DOCTOR),
    (programs.check_sandbox, When.START),
    (redis.check_token, When.SETUP),
    (redis.check_shared_redis, When.SETUP),
    (redis.check_own_redis, When.DOCTOR),
    (fonts.check_fonts, When.DOCTOR),
    (firewall.check_firewall, When.DOCTOR),
    (running.check_running, When.DOCTOR),
)


def require(settings: Settings, when: When) -> list[str]:
    """Make the checks that are required then. Returns what to warn of; raises SettingsError for the first failure."""
    warnings = []
    for check, required in CHECKS:
        for found in check(settings) if required & when else ():
            if found.status == "failed" and not found.mild:
                raise SettingsError(found.finding, found.remedy)
            if found.status == "failed" or (found.status == "warning" and not found.mild):
                warnings.append(f"{found.finding.rstrip('.')}. {found.remedy}")
    return warnings


def examine() -> Iterator[Check]:
    """Make all checks."""
    try:
        settings = config.load()
    except ApplianceError as error:
        yield failed("settings", str(error), error.hint)
        return
    yield ok("settings", "all settings are valid")
    for check, _ in CHECKS:
        try:
            yield from check(settings)
        except (ApplianceError, OSError) as error:  # it cannot even be made; the others still can
            name = check.__name__.removeprefix("check_").replace("_", " ")
            yield failed(name, str(error), getattr(error, "hint", "") or "Fix that, then run `applctl doctor` again.")
