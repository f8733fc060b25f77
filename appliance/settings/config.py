"""The settings: environment variables, typed, documented and checked in one place.

They are read from the environment, then from the settings file `appliance.env` of the installation
(or the file that `APPLIANCE_ENV` names), then from the defaults in `appliance/settings/` and below.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from appliance.errors import SettingsError
from appliance.grid.token_copy import TokenFile
from appliance.machine.addresses import address_beside, reachable_by_others
from appliance.machine.record import MemoryFile
from appliance.settings import (
    AccountSettings,
    BrowserSettings,
    EndpointSettings,
    RedisSettings,
    TimingSettings,
    WorkerSettings,
    secret_files,
)
from appliance.settings import redis_url as redis_urls
from appliance.settings.cross_checks import contradictions
from appliance.settings.sentences import sentence


def installation_root() -> Path:
    """Return the folder that holds supervisord.conf: the checkout, or what was installed beside Python."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "supervisord.conf").is_file():
        return checkout
    return Path(sys.prefix) / "share" / "playwright-appliance"


def settings_file() -> Path:
    """Return the path of the settings file, which need not exist."""
    return Path(os.environ.get("APPLIANCE_ENV") or installation_root() / "appliance.env")


def _default_appliance_name() -> str:
    return re.sub(r"[^\w.-]", "-", socket.gethostname()) or "appliance"


def _default_run_dir() -> Path:
    """Return run/ in the installation; if it cannot be created there, a folder of this account's own.

    That is below its home, or below /tmp for an account without a home that it can write. A run/ that is there counts
    even if it is another account's: that account's appliance may run in it, and that is said then.
    """
    root = installation_root()
    is_read_only = os.statvfs(root).f_flag & os.ST_RDONLY
    if not is_read_only and ((root / "run").is_dir() or os.access(root, os.W_OK)):
        return root / "run"
    home = Path(os.environ.get("HOME") or "/nonexistent")
    if os.access(home, os.W_OK):
        return home / ".local" / "state" / "playwright-appliance"
    return Path(tempfile.gettempdir()) / f"playwright-appliance-{os.geteuid()}"


class GridSettings(BaseSettings):
    """Which grid the appliance belongs to."""

    redis_url: str | None = Field(
        None,
        description="Redis that coordinates the grid: redis://, rediss://, unix:// or redis+sentinel://. "
        "Default: the appliance runs its own Redis, on a unix socket.",
    )
    grid_namespace: str = Field(
        "grid",
        pattern=r"^[\w.-]+$",
        description="Prefix of all keys. Several grids with different prefixes can share one Redis.",
    )
    appliance_name: str = Field(
        default_factory=_default_appliance_name,
        pattern=r"^[\w.-]+$",
        description="Name of this appliance, unique in its grid. Default: the host name.",
    )
    run_dir: Path = Field(
        default_factory=_default_run_dir,
        description="Folder for sockets, logs, and the workers' temporary files. Default: run/ in the installation; "
        "if it cannot be created there, ~/.local/state/playwright-appliance or /tmp/playwright-appliance-UID.",
    )

    @field_validator("redis_url")
    @classmethod
    def _usable_url(cls, value: str | None) -> str | None:
        if value:
            redis_urls.check(value)
        return value

    @field_validator("run_dir", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


class LogSettings(BaseSettings):
    """What the logs say."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level that is logged.")
    log_format: Literal["text", "json"] = Field("text", description="Format of log lines: text or json.")

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


# pydantic takes the fields of the last base first
class Settings(
    LogSettings,
    AccountSettings,
    TimingSettings,
    BrowserSettings,
    WorkerSettings,
    EndpointSettings,
    RedisSettings,
    GridSettings,
):
    """All settings of an appliance. The names are those of the environment variables, in lower case.

    This checks each one by itself; `load` also checks that they go together.
    """

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    @property
    def effective_redis_url(self) -> str:
        """REDIS_URL, or the unix socket of the appliance's own Redis."""
        if self.redis_url:
            return self.redis_url
        password = f":{self.redis_password.get_secret_value()}@" if self.redis_password else ""
        return f"unix://{password}{self.run_dir / 'redis.sock'}"

    @property
    def door_beside_host(self) -> str:
        """The address at which the inner door is opened beside HOST, "" if others reach HOST, or none would come.

        Raises SettingsError for a name without an address.
        """
        is_shared = self.redis_url or self.redis_listen
        return address_beside(self.host, self.private_hostname) if is_shared else ""

    @property
    def token_file(self) -> TokenFile:
        """The appliance's copy of the grid's tokens."""
        redis_url = self.redis_url or f"unix://{self.run_dir / 'redis.sock'}"
        return TokenFile(self.run_dir, redis_url, self.grid_namespace, self.service_user)

    @property
    def memory(self) -> MemoryFile:
        """What the appliance remembers of itself."""
        return MemoryFile(self.run_dir, self.service_user)

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
    if "private_hostname" not in settings.model_fields_set:
        settings.private_hostname = reachable_by_others(settings.redis_url, settings.redis_listen)
    lines = [f"{name.upper()}: {reason}" for name, reason in wrong.items()] + contradictions(settings, wrong)
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
