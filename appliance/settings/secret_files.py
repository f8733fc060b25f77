"""Settings that are secrets reach the appliance's processes by files, which the environment names.

An environment is kept by every process that is started with it, for whoever may look at that process; a file is read
when it is needed, by who may read it. RUN_DIR/secrets/ belongs to who started the appliance. Where there are accounts,
SERVICE_USER's group reads it: Redis, the proxy, and workers before they start their driver; no driver and no browser.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "APPLIANCE_SECRETS"
NAMES = ("redis_url", "redis_password")  # each file is named as its setting


def write(folder: Path, values: Mapping[str, str], group: int | None) -> None:
    """Replace the secrets, readable by their owner and, if one is given, a group; raises OSError."""
    for name in NAMES:
        path = folder / name
        path.unlink(missing_ok=True)
        if value := values.get(name, ""):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w") as file:
                if group is not None:
                    os.fchown(descriptor, -1, group)
                    os.fchmod(descriptor, 0o640)
                file.write(value)


def read(folder: str) -> dict[str, str]:
    """Return the secrets in a folder; none if it is gone or not to be read."""
    found = {}
    for name in NAMES:
        path = Path(folder) / name
        if folder and path.is_file():
            found[name] = path.read_text()
    return found
