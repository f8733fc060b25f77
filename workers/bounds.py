"""What memory and disk a worker may use: past the soft bound it drains, past the hard one its sessions end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance import resources
from appliance.settings.config import Settings

MIB, GIB = 1024**2, 1024**3

DISK_BYTES, DISK_SHARE = 2 * GIB, 4  # by default: so much, or this part of the file system that RUN_DIR is on
HARD_FACTOR = 2  # of the soft bound, by default
MEMORY_SHARE = 0.75  # of the machine's, where no bound is set


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound of one kind, in bytes; 0 is no bound."""

    kind: str
    setting: str
    soft: int
    hard: int

    @property
    def near(self) -> float:
        """From how much on it is watched closely."""
        return (self.hard or self.soft or float("inf")) / 2


def memory_bound(settings: Settings) -> Bound:
    """Return the bound of memory. By default it keeps one worker from taking all of the machine."""
    soft = int(settings.worker_max_memory)
    default = HARD_FACTOR * soft or int(resources.memory_bytes() * MEMORY_SHARE)
    return Bound("memory", "WORKER_MAX_MEMORY", soft, _chosen(settings.worker_hard_memory, default))


def disk_bound(settings: Settings) -> Bound:
    """Return the bound of what a worker's folder holds."""
    soft = _chosen(settings.worker_max_disk, min(DISK_BYTES, _file_system_bytes(settings.run_dir) // DISK_SHARE))
    return Bound("disk", "WORKER_MAX_DISK", soft, _chosen(settings.worker_hard_disk, HARD_FACTOR * soft))


def _chosen(setting: int | None, default: int) -> int:
    return default if setting is None else int(setting)


def size(count: int) -> str:
    """Write a number of bytes as a setting would: "2 GiB", "1.5 GiB", "700 MiB"."""
    return f"{count / GIB:.3g} GiB" if count >= GIB else f"{count // MIB} MiB"


def disk_bytes(folder: Path) -> int:
    """Return the space that a folder's files take. What is removed or made meanwhile may count or not."""
    return sum(_space_of(folder))


def _space_of(folder: Path | str) -> Iterator[int]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield from _space_of_entry(entry)
    except OSError:  # removed since it was listed, or closed to this account
        return


def _space_of_entry(entry: os.DirEntry[str]) -> Iterator[int]:
    try:
        yield entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return
    if entry.is_dir(follow_symlinks=False):
        yield from _space_of(entry.path)


def _file_system_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize
