"""Which appliance looks after the firewall rules of this machine: one at a time, or each would undo the other's.

The holder locks a file, which names its RUN_DIR. Only root may open it: who may read a file
may lock it (flock(2)). The lock ends with its process. Rules belong to one network namespace, and so does the file.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from appliance.errors import FirewallError

_FOLDER = Path("/run")
_FOR_ROOT = 0o600


def hold(run_dir: Path) -> IO[str]:
    """Hold the machine's rules for the appliance of a RUN_DIR, until this process ends or closes the file.

    Raises FirewallError if another appliance has them.
    """
    file = os.fdopen(os.open(_file(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FOR_ROOT), "r+")
    os.fchmod(file.fileno(), _FOR_ROOT)  # an earlier release let everybody read it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        require_unheld(run_dir)
        raise FirewallError("another process of this appliance looks after the firewall rules") from None
    file.truncate(0)
    file.write(f"{run_dir}\n")
    file.flush()
    return file


def require_unheld(run_dir: Path) -> None:
    """Raise FirewallError if an appliance with another RUN_DIR looks after the machine's rules."""
    try:
        with _file().open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, PermissionError):  # only root can load rules, and so be in anybody's way
        return
    except BlockingIOError:
        holder = _file().read_text().strip()
        if holder != str(run_dir):
            raise FirewallError(
                f"the appliance in {holder} already looks after the firewall rules of this machine",
                "A machine has one set of rules. Stop that appliance, or set GUARD=false for this one.",
            ) from None


def _file() -> Path:
    return _FOLDER / f"playwright-appliance-firewall-{os.stat('/proc/self/ns/net').st_ino}.lock"
