"""Files of RUN_DIR that processes of several accounts read: replaced in one step, whole or not at all."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path


def replace(path: Path, text: str, owner: str | None = None, mode: int = 0o600) -> None:
    """Write a file anew for `owner`, by default this account, who may be root; raises OSError, which names it."""
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
