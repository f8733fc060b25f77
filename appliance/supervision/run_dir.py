"""RUN_DIR: its folders, and whose they are.

One account, that of who starts the appliance: all is closed to the others. Root with SERVICE_USER and
BROWSER_USER: it stays root's, and so do the logs and supervisord's socket, which gives command of the
appliance. SERVICE_USER makes Redis' socket and the tokens' file in it, and by the sticky bit (inode(7)) can
remove or replace none but its own. BROWSER_USER passes through to the folders that are its own.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.accounts import Accounts, accounts_of, require_root
from appliance.config import Settings
from appliance.errors import SettingsError, SupervisorError
from appliance.token_file import FILE as TOKENS

_CLOSED = 0o700
_SHARED = 0o1771


def prepare_run_dir(settings: Settings) -> None:
    """Make RUN_DIR with its folders; raises SettingsError if that cannot be done."""
    run_dir, accounts = settings.run_dir, accounts_of(settings)
    if accounts:
        require_root()
    try:
        if run_dir.is_dir() and any(run_dir.iterdir()) and not (run_dir / "log").is_dir():
            raise SettingsError(
                f"RUN_DIR {run_dir} holds other things, and would be closed to other users",
                "Set RUN_DIR to a folder of its own, which need not exist.",
            )
        run_dir.mkdir(parents=True, exist_ok=True)
        run_dir.chmod(_SHARED if accounts else _CLOSED)
        for name in ("log", "workers", "compile-cache"):
            (run_dir / name).mkdir(exist_ok=True)
            (run_dir / name).chmod(_CLOSED)
        if accounts:
            _share(run_dir, accounts)
    except OSError as error:
        raise SettingsError(
            f"RUN_DIR {run_dir} cannot be prepared: {error.strerror}",
            "Set RUN_DIR to a folder that this user may write, or use the account that owns it.",
        ) from error


def _share(run_dir: Path, accounts: Accounts) -> None:
    """Give each account what is its own; links, which would be of an account's making, are not followed."""
    os.chown(run_dir, 0, accounts.service.gid)
    for name in ("workers", "compile-cache"):
        os.chown(run_dir / name, accounts.browser.uid, accounts.browser.gid, follow_symlinks=False)
    with suppress(FileNotFoundError):  # an earlier run of root's alone may have made it
        os.chown(run_dir / TOKENS, accounts.service.uid, -1, follow_symlinks=False)


@contextmanager
def bringing_up(settings: Settings) -> Iterator[None]:
    """Be the only one who starts an appliance in RUN_DIR; raises SupervisorError if another does already."""
    prepare_run_dir(settings)
    with (settings.run_dir / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SupervisorError(
                f"the appliance in {settings.run_dir} is just being started", "Wait for that."
            ) from None
        yield
