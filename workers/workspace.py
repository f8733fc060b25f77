"""A worker's temporary folder: its own, locked while it lives, removed with all that belongs to it.

Rules
 1. Each worker process makes a folder of its own in that of its name (appliance/run_dir.py), and
    holds a lock (flock) in it. The kernel frees the lock however the process ends.
 2. A folder whose lock is free is garbage. The next worker of the name takes the lock, kills the processes that
    belong to the folder, and removes it. It leaves other names' folders alone; `applctl up` clears the
    folders of names that are no more.
 3. A folder whose lock is held belongs to a worker that lives, perhaps one that still drains.
 4. A sweeper can catch a folder between its making and its locking. Then the lock is refused, or the
    locked file is no longer in the folder, and its maker makes another.
 5. What cannot be opened or removed is logged and passed over: no folder keeps a worker from starting.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import asdict
from pathlib import Path

from appliance import files, logs
from appliance.run_dir import RunDir
from workers import leftovers
from workers.leftovers import BrowserSession

log = logs.get_logger()

KILL_TIMEOUT_S = 5.0

_ATTEMPTS = 20
_CLOSED, _PASSAGE = 0o700, 0o710


class Workspace:
    """A folder that this process holds the lock of."""

    def __init__(self, path: Path, lock: int) -> None:
        """Set the folder, and the descriptor of its locked file."""
        self.path = path
        self._lock = lock

    @property
    def temporary(self) -> Path:
        """The folder for the temporary files of driver and browser."""
        return self.path / "tmp"

    @property
    def socket(self) -> Path:
        """The socket that the driver listens on."""
        return RunDir.driver_socket_in(self.path)

    @property
    def session(self) -> BrowserSession | None:
        """The browser's session, if it got as far as to have one."""
        try:
            fields = json.loads((self.path / "session.json").read_text())
            return BrowserSession(int(fields["sid"]), tuple(fields["programs"]))
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or its writer died over it
            return None

    def remember(self, session: BrowserSession) -> None:
        """Write the browser's session down for whoever sweeps this folder."""
        (self.path / "session.json").write_text(json.dumps(asdict(session)))

    def clear(self, *, family: bool) -> bool:
        """Kill what belongs to the folder (with `family`, all descendants of this process), and remove it.

        Return whether it is gone. What cannot be done now is logged and left to the next sweep.
        """
        try:
            leftovers.kill(self.path, self.session, KILL_TIMEOUT_S, family)
            files.remove_folder(self.path)
        except FileNotFoundError:
            log.debug("workspace.already_removed", path=str(self.path))
        except OSError as error:
            log.warning("workspace.not_cleared", path=str(self.path), error=str(error))
            return False
        finally:
            os.close(self._lock)
        return True


def create(folder: Path, suffix: str = "") -> Workspace:
    """Make and lock a worker's folder in that of its name, called `suffix` unless that exists; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    _let_the_proxy_pass(folder)
    for number in range(_ATTEMPTS):
        path = folder / (suffix if suffix and not number else secrets.token_hex(3))
        try:
            path.mkdir(mode=_CLOSED)
        except FileExistsError:
            continue
        workspace = _take(path)
        if workspace:
            workspace.temporary.mkdir(mode=_CLOSED)
            _let_the_proxy_pass(path)
            return workspace
    raise OSError(f"no folder in {folder} can be locked")


def _let_the_proxy_pass(folder: Path) -> None:
    """Open a folder to who has this process's effective group alone, if it has one: the proxy (machine/accounts.py).

    It may pass to the socket, and read nothing.
    """
    status, group = folder.stat(), os.getegid()
    if status.st_uid != os.geteuid():  # it was made by root, who has seen to it
        return
    shared = group != os.getgid()
    if shared and status.st_gid != group:
        os.chown(folder, -1, group)
    if status.st_mode & 0o7777 != (mode := _PASSAGE if shared else _CLOSED):
        folder.chmod(mode)


def sweep(folder: Path, alone_with: Path | None = None) -> list[str]:
    """Clear the folders of dead workers of one name, all in `folder`. Return the names of the folders that are gone.

    `alone_with` says that nothing of these workers lives but the owner of this folder: then all others go, even one
    that cannot be locked.
    """
    swept = []
    for path in sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink() and p != alone_with):
        workspace = _take(path)
        if workspace.clear(family=False) if workspace else alone_with and _removed(path):
            swept.append(path.name)
    return swept


def _removed(path: Path) -> bool:
    try:
        files.remove_folder(path)
    except OSError as error:
        log.warning("workspace.not_cleared", path=str(path), error=str(error))
        return False
    return True


def _take(path: Path) -> Workspace | None:
    """Lock a folder; None if another process has its lock or has removed it, or if it cannot be opened."""
    try:
        lock = os.open(
            RunDir.lock_in(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("workspace.not_opened", path=str(path), error=str(error))
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:
            return Workspace(path, lock)
    except BlockingIOError:
        log.debug("workspace.in_use", path=str(path))
    except OSError as error:  # no locks there (a network's file system), or no memory for one
        log.warning("workspace.not_locked", path=str(path), error=str(error))
    os.close(lock)
    return None
