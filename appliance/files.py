"""Files and folders: replaced in one step, whole or not at all; and removed, even if they are closed to their owner."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path


def replace(path: Path, text: str, owner: str | None = None, mode: int = 0o600) -> None:
    """Replace a file for `owner`, by default this account, who may be root; raises OSError, which names it."""
    try:
        _replace(path, text, owner, mode)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _replace(path: Path, text: str, owner: str | None, mode: int) -> None:
    file, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(file, "w") as out:
            if owner:
                os.fchown(file, pwd.getpwnam(owner).pw_uid, -1)
            os.fchmod(file, mode)
            out.write(text)
            out.flush()
            os.fsync(file)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; raises OSError.

    What is closed even to its owner, as `mkdir -m 0` makes it, is opened first. root needs no such thing, and could be
    led elsewhere by a link that takes a folder's place meanwhile.
    """
    if os.geteuid():
        _open(str(folder))
    shutil.rmtree(folder)


def _open(folder: str) -> None:
    os.chmod(folder, 0o700)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _open(entry.path)
