"""A worker's temporary folder: its own, locked while it lives, removed with all that belongs to it.

Rules
 1. Each worker process makes a folder of its own, `<run dir>/workers/<slot>.<hex>`, and holds a lock
    (flock) in it. The kernel frees the lock however the process ends.
 2. A folder whose lock is free is garbage, whichever slot it was made for. Whoever finds it takes the
    lock, kills the processes that belong to it, and removes it.
 3. A folder whose lock is held belongs to a worker that lives, perhaps one that still drains.
 4. A sweeper can catch a folder between its making and its locking. Then the lock is refused, or the
    locked file is no longer in the folder, and its maker makes another.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path

from appliance import logs
from workers import leftovers
from workers.leftovers import BrowserSession

log = logs.get_logger()

KILL_TIMEOUT_S = 5.0

_ATTEMPTS = 20


class Workspace:
    """A folder that this process holds the lock of."""

    def __init__(self, path: Path, lock: int) -> None:
        """Take a folder and the descriptor of its locked file."""
        self.path = path
        self._lock = lock

    @property
    def temporary(self) -> Path:
        """The folder for the temporary files of driver and browser."""
        return self.path / "tmp"

    @property
    def session(self) -> BrowserSession | None:
        """The browser's session, if it got as far as to have one."""
        try:
            fields = json.loads((self.path / "session.json").read_text())
            return BrowserSession(int(fields["sid"]), tuple(fields["programs"]))
        except (FileNotFoundError, ValueError, KeyError):  # none yet, or its writer died over it
            return None

    def remember(self, session: BrowserSession) -> None:
        """Write the browser's session down for whoever sweeps this folder."""
        (self.path / "session.json").write_text(json.dumps(asdict(session)))

    def clear(self, *, family: bool) -> None:
        """Kill what belongs to the folder (with `family`, all descendants of this process), and remove it.

        What cannot be done now is logged and left to the next sweep.
        """
        try:
            leftovers.kill(self.path, self.session, KILL_TIMEOUT_S, family)
            shutil.rmtree(self.path)
        except FileNotFoundError:
            log.debug("workspace.already_removed", path=str(self.path))
        except OSError as error:
            log.warning("workspace.not_cleared", path=str(self.path), error=str(error))
        finally:
            os.close(self._lock)


def create(parent: Path, slot: str, suffix: str = "") -> Workspace:
    """Make and lock a folder "slot.suffix" for a worker, with another suffix if need be; raises OSError."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(_ATTEMPTS):
        path = parent / f"{slot}.{suffix if suffix and not number else secrets.token_hex(3)}"
        path.mkdir(mode=0o700)
        workspace = _take(path)
        if workspace:
            workspace.temporary.mkdir()
            return workspace
    raise OSError(f"no folder in {parent} can be locked")


def sweep(parent: Path) -> list[str]:
    """Clear every folder whose owner is dead. Gives their names."""
    swept = []
    for path in sorted(p for p in parent.iterdir() if p.is_dir()):
        workspace = _take(path)
        if workspace:
            workspace.clear(family=False)
            swept.append(path.name)
    return swept


def _take(path: Path) -> Workspace | None:
    """Lock a folder; None if another process has its lock, or has removed it."""
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:
            return Workspace(path, lock)
    except BlockingIOError:
        log.debug("workspace.in_use", path=str(path))
    os.close(lock)
    return None
