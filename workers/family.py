"""A worker's descendants: which they are, what memory they take, and their exit status.

Rules
 1. The kernel lists the children of each thread (proc(5), /proc/PID/task/TID/children). To read those of one's own
    descendants costs the same however many processes the machine has. A kernel may lack the files; then all of /proc is
    read.
 2. Most processes fork in their main thread, Chromium's zygotes among them; a hasty look reads that thread's children
    alone, beside what an earlier one found.
 3. The worker adopts what its descendants leave (kernel.adopt_orphans), so it must fetch their exit status: else they
    stay in the table of processes until the worker ends, and, under a PID 1 that fetches none, for ever.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import psutil

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_KERNEL_LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()


class Family:
    """The descendants of a process."""

    def __init__(self, root: int | None = None) -> None:
        """Set the process whose descendants are meant, this one by default."""
        self._root = root or os.getpid()
        self._members = [self._root]

    def members(self, *, hasty: bool = False) -> list[int]:
        """Return the process and its descendants, zombies too; a `hasty` look may miss some (rule 2)."""
        if not _KERNEL_LISTS_CHILDREN:
            return [self._root, *(child.pid for child in psutil.Process(self._root).children(recursive=True))]
        found = dict.fromkeys(self._members if hasty else [self._root])
        queue = list(found)
        for pid in queue:
            new = [child for child in _children(pid, main_thread_only=hasty) if child not in found]
            found.update(dict.fromkeys(new))
            queue += new
        self._members = list(found)
        return self._members

    def memory_bytes(self, *, hasty: bool = False) -> int:
        """Return the memory that they take: what each has resident and does not share.

        Shared pages are left out because a browser's processes map the same program, hundreds of MB that a plain sum
        would count for each of them. Unlike PSS, this can be read of sandboxed renderers, too.
        """
        return sum(map(_own_bytes, self.members(hasty=hasty)))


def fetch_exit_status(of_all_but: Collection[int] = ()) -> int:
    """Fetch the exit status of the children that have ended, unless somebody else waits for it.

    Return how many there were.
    """
    fetched = 0
    for pid in _children(os.getpid()):
        if pid not in of_all_but and _fetch(pid):
            fetched += 1
    return fetched


def _fetch(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # somebody else has
        return False


def _children(pid: int, *, main_thread_only: bool = False) -> list[int]:
    if not _KERNEL_LISTS_CHILDREN:
        return [child.pid for child in psutil.Process(pid).children()]
    try:
        threads = [str(pid)] if main_thread_only else os.listdir(f"/proc/{pid}/task")
        return [int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()]
    except (FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
        return []


def _own_bytes(pid: int) -> int:
    try:
        _, resident, shared = _read(f"/proc/{pid}/statm").split()[:3]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return max(0, int(resident) - int(shared)) * _PAGE_BYTES


def _read(path: str) -> bytes:
    """Read a file of /proc, which is quicker without the buffer of a Python file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 65536)
    finally:
        os.close(descriptor)
