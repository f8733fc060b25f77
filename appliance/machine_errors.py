"""What the machine refuses: a sentence, and what to do about it, in place of a traceback."""

from __future__ import annotations

import errno
import subprocess

import psutil

_HINTS = {
    errno.ENOSPC: "Free some space on that file system; `df -h` and `df -i` show which one is full.",
    errno.EDQUOT: "The account's disk quota is used up: free some space, or have the quota raised.",
    errno.EROFS: "That file system is read-only: choose another folder, or see `dmesg` for errors.",
    errno.EACCES: "Use the account that owns it.",
    errno.EPERM: "Use the account that owns it.",
    errno.EMFILE: "Raise the limit of open files: ulimit -n.",
    errno.ENOMEM: "Free memory, or run fewer workers.",
    errno.EAGAIN: "The account has too many processes: raise its limit (ulimit -u), or end some.",
}


def explained(error: OSError | subprocess.SubprocessError | psutil.Error) -> tuple[str, str]:
    """Return what went wrong, one sentence, and what to do about it."""
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}", remedy_of(error)
    if isinstance(error, subprocess.TimeoutExpired):
        return f"{_program(error.cmd)} took longer than {error.timeout:g} s", "Try again; the machine may be busy."
    if isinstance(error, subprocess.CalledProcessError):
        return f"{_program(error.cmd)} failed with exit code {error.returncode}", ""
    return str(error), ""


def remedy_of(error: OSError) -> str:
    """Return what to do about an error, "" if that is not known."""
    return _HINTS.get(error.errno or 0, "")


def _program(command: object) -> str:
    return str(command[0] if isinstance(command, list | tuple) else command)
