"""How much space a file system has for an appliance."""

from __future__ import annotations

import os
from pathlib import Path

NEEDED_BYTES = 64 * 2**20  # below it workers, uploads and downloads fail
NEEDED_FILES = 500  # a browser's profile has some 150


def shortage(folder: Path, needed_bytes: int = NEEDED_BYTES, needed_files: int = NEEDED_FILES) -> str:
    """Return what a folder lacks, like "only 12 MiB of disk space"; "" if it lacks nothing.

    If it does not exist yet, the folder in which it will be created is looked at. Raises OSError.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < needed_bytes:
        return f"only {free // 2**20} MiB of disk space"
    if found.f_files and found.f_favail < needed_files:  # some file systems do not count files
        return f"space for only {found.f_favail} more files"
    return ""
