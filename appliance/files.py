"""Files and folders: replaced in one step, whole or not at all; and removed, even if they are closed to their owner."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import tempfile
from pathlib import Path


def replace(path: Path, content: str | bytes, owner: str | None = None, mode: int = 0o600) -> None:
    """Replace a file for `owner`, by default this account, who may be root; raises OSError, which names it."""
    try:
        _replace(path, content.encode() if isinstance(content, str) else content, owner, mode)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error


def save(content: bytes, path: Path, mode: int = 0o666) -> None:
    """Replace what a user named, through links; with the mode of a new file. Raises OSError, as for a device."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "this is not a file", str(path))
    before = os.umask(0)
    os.umask(before)
    replace(path, content, mode=mode & ~before)


def _replace(path: Path, content: bytes, owner: str | None, mode: int) -> None:
    file, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(file, "wb") as out:
            if owner:
                os.fchown(file, pwd.getpwnam(owner).pw_uid, -1)
            os.fchmod(file, mode)
            out.write(content)
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
