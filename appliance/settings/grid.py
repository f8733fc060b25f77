"""The settings of the grid that the appliance belongs to, and of its place on this machine."""

from __future__ import annotations

import os
import re
import socket
import tempfile
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from appliance.settings import redis_url as redis_urls
from appliance.settings.installation import installation_root


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


def _default_drivers_dir() -> Path:
    """Return drivers/ in the installation; if it cannot be created there, a folder below this account's home."""
    root = installation_root()
    if (root / "drivers").is_dir() or os.access(root, os.W_OK):
        return root / "drivers"
    home = Path(os.environ.get("HOME") or tempfile.gettempdir())
    return home / ".local" / "share" / "playwright-appliance" / "drivers"


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

    drivers_dir: Path = Field(
        default_factory=_default_drivers_dir,
        description="Folder of the drivers that `applctl drivers add` installs, of 130 MB and more each. Default: "
        "drivers/ in the installation; if it cannot be created there, ~/.local/share/playwright-appliance/drivers.",
    )

    @field_validator("redis_url")
    @classmethod
    def _usable_url(cls, value: str | None) -> str | None:
        if value:
            redis_urls.check(value)
        return value

    @field_validator("run_dir", "drivers_dir", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()
