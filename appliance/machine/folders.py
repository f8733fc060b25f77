"""RUN_DIR: its folders, and whose they are.

Where one account starts and runs all, everything is closed to others. Where root starts an appliance with SERVICE_USER
and BROWSER_USER:
 - RUN_DIR is root's, and so are the logs and supervisord's socket, which gives command of the appliance.
 - SERVICE_USER makes Redis' socket and the tokens' file in RUN_DIR; by the sticky bit (inode(7)) it can remove or
   replace only its own files.
 - The workers of one name have a folder of their own. SERVICE_USER's group passes through it to the driver's socket,
   and can read nothing there.
 - The proxy and the processes that drive agents' browsers have a folder in common, for their sockets.
 - What is compiled of the driver is root's: drivers read it, and a browser that broke out can put nothing there.
RUN_DIR may have been SERVICE_USER's before, so root takes over no link and no log that is another's.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance import files
from appliance.errors import SettingsError, SupervisorError
from appliance.machine.accounts import Accounts, accounts_of, require_root
from appliance.machine_errors import remedy_of
from appliance.run_dir import RunDir
from appliance.settings.config import Settings

_CLOSED = 0o700
_SHARED = 0o1771
_PASSAGE, _THOROUGHFARE, _READABLE, _SHARED_SECRETS = 0o710, 0o711, 0o755, 0o750
_OF_TWO = 0o770


def prepare_run_dir(settings: Settings) -> None:
    """Make RUN_DIR with its folders; raises SettingsError if that cannot be done."""
    run_dir, accounts = settings.run_dir, accounts_of(settings)
    if accounts:
        require_root()
    try:
        if run_dir.is_dir() and any(run_dir.iterdir()) and not settings.paths.logs.is_dir():
            raise SettingsError(
                f"RUN_DIR {run_dir} contains other files, and would be closed to other users",
                "Set RUN_DIR to an empty folder, or to one that does not exist yet.",
            )
        run_dir.mkdir(parents=True, exist_ok=True)
        if accounts:
            _share(settings.paths, accounts)
        else:
            _close(settings.paths)
    except OSError as error:
        raise SettingsError(
            f"RUN_DIR {run_dir} cannot be prepared: {error.strerror}",
            f"{remedy_of(error)} Or set RUN_DIR to another folder.".lstrip(),
        ) from error


def renew_workers(settings: Settings) -> None:
    """Remove what workers of all names and accounts have left, and make a folder for each name.

    Nothing of the appliance may run. Raises SettingsError if something cannot be removed.
    """
    _remove_workers(settings)
    make_folders(settings, settings.worker_names)


def make_folders(settings: Settings, names: Iterable[str]) -> None:
    """Make a folder for each worker of these names, where workers have accounts; others make their own."""
    if accounts := accounts_of(settings):
        for name in names:
            uid = accounts.uid_of(name)
            _give(settings.paths.workers_of(name), uid, accounts.service.gid, _PASSAGE)


def remove_left(paths: RunDir) -> list[str]:
    """Remove the folders of workers that have ended without removing them. Return their names: "chromium-00.1a2b3c".

    No worker may run. Raises SettingsError if one cannot be removed.
    """
    left = sorted(path for path in paths.workers.glob("*/*/") if not (path.is_symlink() or path.parent.is_symlink()))
    for path in left:
        _remove(path)
    return [f"{path.parent.name}.{path.name}" for path in left]


def _remove_workers(settings: Settings) -> None:
    for path in settings.paths.workers.iterdir():
        _remove(path)


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            files.remove_folder(path)
        else:
            path.unlink()
    except OSError as error:
        raise SettingsError(
            f"{path}, left by an earlier run, cannot be removed: {error.strerror}",
            f"Remove it: sudo rm -r {shlex.quote(str(path))}",
        ) from error


def _close(paths: RunDir) -> None:
    paths.path.chmod(_CLOSED)
    for folder in (paths.logs, paths.workers, paths.compile_cache, paths.secrets, paths.mcp):
        folder.mkdir(exist_ok=True)
        folder.chmod(_CLOSED)


def _share(paths: RunDir, accounts: Accounts) -> None:
    """Set the owner of each folder. Links are not followed: an account may have made them."""
    os.chown(paths.path, 0, accounts.service.gid)
    paths.path.chmod(_SHARED)
    _give(paths.logs, 0, 0)
    _require_roots(paths.logs)
    _give(paths.secrets, 0, accounts.service.gid, _SHARED_SECRETS)
    _give(paths.workers, 0, 0, _THOROUGHFARE)
    _give(paths.mcp, accounts.agents_uid, accounts.service.gid, _OF_TWO)
    _give(paths.compile_cache, 0, 0, _READABLE)
    with suppress(FileNotFoundError):  # an earlier run of root's alone may have made it
        os.chown(paths.tokens, accounts.service.uid, -1, follow_symlinks=False)


def _give(folder: Path, user: int, group: int, mode: int = _CLOSED) -> None:
    """Make a folder, unless it is there, and set whose it is; raises SettingsError if it is a link."""
    folder.mkdir(exist_ok=True)
    if folder.is_symlink():
        raise SettingsError(f"{folder} is a link, which root does not follow here", "Replace it by a folder.")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, user, group)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _require_roots(folder: Path) -> None:
    """Raise SettingsError if root, who writes there, would follow a link or write to another's file."""
    for path in folder.iterdir():
        kind = "a link" if path.is_symlink() else "another account's" if path.lstat().st_uid else ""
        if kind:
            raise SettingsError(
                f"{path} is {kind}, and root would write there",
                f"Empty {folder}: an earlier run without SERVICE_USER, or somebody with that account, left it.",
            )


@contextmanager
def bringing_up(settings: Settings) -> Iterator[None]:
    """Let nobody else start the appliance in RUN_DIR meanwhile; raises SupervisorError if another is at it."""
    prepare_run_dir(settings)
    with alone_in(settings.paths) as is_alone:
        if not is_alone:
            raise SupervisorError(
                f"the appliance in {settings.run_dir} is already being started", "Wait until it is ready."
            )
        yield


@contextmanager
def alone_in(paths: RunDir) -> Iterator[bool]:
    """Let nobody else start the appliance in a RUN_DIR, or clear it, meanwhile; yield False if another is at it."""
    # no file of its own: in RUN_DIR, SERVICE_USER might have made it, a link or locked
    lock = os.open(paths.logs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _is_locked(lock)
    finally:
        os.close(lock)


def is_changing(paths: RunDir) -> bool:
    """Return whether somebody starts the appliance in a RUN_DIR, or clears it, without being in their way."""
    with suppress(OSError):
        inode = f":{paths.logs.stat().st_ino}"  # proc_locks(5): MAJOR:MINOR:INODE
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return any("FLOCK" in words and any(word.endswith(inode) for word in words) for words in locks)
    return False


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
