"""The settings: environment variables, typed, documented and checked in one place.

They are read from the environment, then from the settings file `appliance.env` of the installation
(or the file that `APPLIANCE_ENV` names), then from the defaults in `appliance/settings/`.
"""

from __future__ import annotations

import difflib
import os
import shlex
import socket
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from appliance.errors import SettingsError
from appliance.run_dir import RunDir
from appliance.settings import secret_files
from appliance.settings.accounts import AccountSettings
from appliance.settings.browsers import BrowserSettings
from appliance.settings.cross_checks import contradictions, wrong_pools
from appliance.settings.endpoint import EndpointSettings
from appliance.settings.grid import GridSettings
from appliance.settings.installation import installation_root
from appliance.settings.logs import LogSettings
from appliance.settings.mcp import McpSettings
from appliance.settings.redis import RedisSettings
from appliance.settings.sentences import sentence
from appliance.settings.timings import TimingSettings
from appliance.settings.workers import WorkerSettings


def settings_file() -> Path:
    """Return the path of the settings file, which need not exist."""
    return Path(os.environ.get("APPLIANCE_ENV") or installation_root() / "appliance.env")


# pydantic takes the fields of the last base first
class Settings(
    LogSettings,
    AccountSettings,
    TimingSettings,
    BrowserSettings,
    WorkerSettings,
    McpSettings,
    EndpointSettings,
    RedisSettings,
    GridSettings,
):
    """All settings of an appliance. The names are those of the environment variables, in lower case.

    This checks each one by itself; `load` also checks that they go together.
    """

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    @property
    def paths(self) -> RunDir:
        """The paths below RUN_DIR."""
        return RunDir(self.run_dir)

    @property
    def effective_redis_url(self) -> str:
        """REDIS_URL, or the unix socket of the appliance's own Redis."""
        if self.redis_url:
            return self.redis_url
        password = f":{self.redis_password.get_secret_value()}@" if self.redis_password else ""
        return f"unix://{password}{self.paths.redis_socket}"

    @property
    def host_names(self) -> frozenset[str]:
        """The names under which the pages are shown, beside addresses and names of one label."""
        own = {socket.gethostname(), self.appliance_name, self.host, self.private_hostname}
        return frozenset(name.lower() for name in own | set(self.allowed_hosts))


def load(*, file: Path | None = None, **overrides: Any) -> Settings:
    """Read and check the settings; those in `file`, if it is given, rather than in the settings file.

    Raises SettingsError, whose message names every setting that is wrong, one on a line.
    """
    wrong: dict[str, str] = {}
    file = file or settings_file()
    overrides = {**secret_files.read(os.environ.get(secret_files.VARIABLE, "")), **overrides}
    try:
        settings = Settings(_env_file=file, **overrides)
    except ValidationError as error:
        wrong = {str(one["loc"][0]): sentence(one) for one in error.errors()}
        # The other settings are checked against each other as well; the defaults only fill the gaps.
        defaults = {name: Settings.model_fields[name].get_default(call_default_factory=True) for name in wrong}
        settings = Settings(_env_file=file, **{**overrides, **defaults})
    lines = [f"{name.upper()}: {reason}" for name, reason in wrong.items()]
    lines += contradictions(settings, wrong) + wrong_pools(settings)
    if lines:
        raise SettingsError(
            "\n  ".join(["some settings are wrong:", *lines]),
            f"Correct them in the environment or in {settings_file()}. `applctl config explain NAME` explains one.",
        )
    return settings


def unknown_names() -> dict[str, str]:
    """Return the unknown names in the settings file, each with the setting that is likely meant, or ""."""
    known = [name.upper() for name in Settings.model_fields]
    names = (name for name in dotenv_values(settings_file()) if name.upper() not in known)
    return {name: next(iter(difflib.get_close_matches(name.upper(), known, n=1)), "") for name in names}


def as_text(value: Any) -> str:
    """Write a setting's value as one would set it; "" means not set."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return shlex.join(map(str, value)) if isinstance(value, list) else str(value)
