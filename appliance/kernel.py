"""What the appliance's processes ask of the Linux kernel: prctl(2), pidfd_open(2), setrlimit(2)."""

from __future__ import annotations

import ctypes
import os
import resource
import select
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)  # loaded here, since little is safe between fork and exec


def die_with_parent(number: int) -> None:
    """Let the kernel send this process a signal when its parent (the thread that forked it) ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none gets out of sight."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def allow_open_files() -> None:
    """Raise this process's limit of open files as far as it may: the soft one is often 1024."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def bound_to_parent(number: int) -> Callable[[], None]:
    """Give a `preexec_fn` for a child that gets the signal when this process ends.

    The child leads a process group of its own: a Ctrl-C in the terminal is for the worker, which then
    stops it in order.
    """
    parent = os.getpid()

    def prepare() -> None:
        os.setpgid(0, 0)
        die_with_parent(number)
        if os.getppid() != parent:  # it ended before it was bound to
            os._exit(1)

    return prepare


def wait_for_end(pid: int) -> None:
    """Wait until a process, which need not be a child, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
