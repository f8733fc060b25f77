"""Checks of the settings file."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from dotenv import dotenv_values

from appliance.checks.check import Check, warning
from appliance.settings import config
from appliance.settings.config import Settings

_SECRET = {"APPLIANCE_TOKEN", "REDIS_PASSWORD", "REDIS_URL", "BROWSER_PROXY"}  # the last two may hold a password
_READABLE_BY_OTHERS = 0o004


def check_settings_file(_: Settings) -> Iterator[Check]:
    """The settings file has no unknown names, and only its owner and group can read secrets in it."""
    file = config.settings_file()
    for name, meant in config.unknown_names().items():
        remedy = f"Did you mean {meant}?" if meant else "`applctl config list` lists all settings."
        yield warning("settings", f"unknown setting {name} in {file} is ignored", remedy)
    secrets = sorted(_SECRET & {name.upper() for name in dotenv_values(file, interpolate=False)})
    if secrets and _others_may_read(file):
        finding = f"{file} holds {', '.join(secrets)}, and other users can read it"
        yield warning("settings", finding, f"Run: chmod o-rwx {shlex.quote(str(file))}")


def _others_may_read(file: Path) -> bool:
    return file.is_file() and bool(file.stat().st_mode & _READABLE_BY_OTHERS)
