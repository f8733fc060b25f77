"""The Redis server of an appliance that has no REDIS_URL."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from appliance.machine.install.programs import Provided, ProvisionError, Say, apt_install, run_version
from appliance.settings.config import Settings

MIN_REDIS = 7  # Redis Functions came with 7.0, and every Valkey has them


def find_redis() -> Provided | None:
    """Return a Redis or Valkey server that is recent enough; None if there is none on the path."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name) or shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
        version = re.search(r"v=(\d+)\.[\d.]+", run_version(Path(path)) or "") if path else None
        if path and version and int(version[1]) >= MIN_REDIS:
            return Provided(name, path, version[0][2:], "found")
    return None


def provide_redis(settings: Settings, say: Say) -> Provided:
    """Return the Redis server to run; install it if it is missing. Raises ProvisionError."""
    if settings.redis_url:
        return Provided("redis", "", "", "elsewhere", "elsewhere, as REDIS_URL says")
    found = find_redis()
    if found:
        return found
    reasons = []
    for package in ("redis-server", "valkey-server"):
        say(f"installing {package} with apt")
        reasons.append(apt_install(package))
        installed = find_redis()
        if installed:
            return Provided(installed.name, installed.path, installed.version, "installed")
    raise ProvisionError(
        f"there is no Redis {MIN_REDIS} or Valkey server, and apt could not install one: {reasons[0]}",
        "Install redis-server or valkey-server, or set REDIS_URL to a Redis that runs elsewhere.",
    )
