"""The memory and processors that this process may use: those of the machine, or the limits of its control groups.

A container, or a service with limits, has less than the machine. Each control group above a process may limit it
(cgroups(7)): version 2 by memory.max and cpu.max, version 1 by files of other names, a tree for each controller.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def memory_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """Return the memory of the machine, or of the container if that is less."""
    limits = [int(psutil.virtual_memory().total)]
    for group in _groups("memory", cgroups, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += [int(text) for text in _words(group / name) if text.isdecimal()]
    return min(limits)


def processors(cgroups: Path = _CGROUPS, own: Path = _OWN) -> float:
    """Return how many processors this process may use at a time; a container may have half of one."""
    limits = [float(len(os.sched_getaffinity(0)))]
    for group in _groups("cpu", cgroups, own):
        words = _words(group / "cpu.max") or [*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")]
        if len(words) == 2 and words[0].isdecimal():  # else "max", or -1 in version 1
            limits.append(int(words[0]) / int(words[1]))
    return min(limits)


def _groups(controller: str, cgroups: Path, own: Path) -> Iterator[Path]:
    """Return the folders of this process's group for a controller and of all groups above it, as far as seen here.

    A container often sees its own group as the top, whatever name /proc has for it.
    """
    for line in _lines(own):
        _, controllers, name = line.split(":", 2)
        if not controllers:
            trees = [cgroups, cgroups / "unified"]
        elif controller in controllers.split(","):
            trees = [cgroups / controller, cgroups / controllers]
        else:
            continue
        for tree in trees:
            group = tree / name.lstrip("/")
            yield from (one for one in (group, *group.parents) if one == tree or tree in one.parents)


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:  # no such group, or no such controller in it
        return []
