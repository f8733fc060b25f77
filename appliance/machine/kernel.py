"""What the appliance's processes ask of the Linux kernel: prctl(2), pidfd_open(2), setrlimit(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import select
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_GET_PDEATHSIG = 2
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h

_LOOK_S = 0.5  # between two looks at /proc, where the kernel has no event for it

_libc = ctypes.CDLL(None, use_errno=True)  # loaded here, since little is safe between fork and exec


def die_with_parent(number: int) -> None:
    """Make the kernel send this process a signal when its parent (the thread that forked it) ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none gets out of sight."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def close_to_others() -> None:
    """Close this process's memory, environment and files to all but root: proc(5), PR_SET_DUMPABLE."""
    _prctl(_PR_SET_DUMPABLE, 0)


def take_no_more_rights() -> None:
    """Let no program that this process starts have more rights than it has: prctl(2), PR_SET_NO_NEW_PRIVS."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def leave_networks() -> None:
    """Enter a network of this process's own, in which there is nothing: unshare(2). Unix sockets are still reached.

    An ordinary account needs a user namespace for that, in which it stays itself (user_namespaces(7)). Raises OSError
    where the kernel or a container does not allow it. That shows only when the half is done, as on Ubuntu, whose
    AppArmor lets an account enter a namespace and be nobody there: so a child tries it first.
    """
    if not (child := os.fork()):
        code = errno.EPERM
        try:
            _leave_networks()
            code = 0
        except OSError as error:
            code = error.errno or code
        finally:
            os._exit(code)
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(abs(code), os.strerror(abs(code)))
    _leave_networks()


def _leave_networks() -> None:
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWNET | (_CLONE_NEWUSER if user else 0)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_text(text)


def knows_uids(uids: range, table: Path = Path("/proc/self/uid_map")) -> bool:
    """Whether this user namespace has all these user ids; a container may have few (user_namespaces(7))."""
    lines = map(str.split, table.read_text().splitlines())
    known = [(int(first), int(first) + int(count)) for first, _, count in lines]
    return any(begin <= uids.start and uids.stop <= end for begin, end in known)


def allow_open_files() -> None:
    """Raise this process's limit of open files as far as it may: the soft one is often 1024."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def bound_to_parent(number: int, first: Callable[[], None] | None = None) -> Callable[[], None]:
    """Return a `preexec_fn` for a child that gets the signal when this process ends; it calls `first` with all rights.

    It has only this process's real group and effective user id (machine/accounts.py). They are set first: a change of
    credentials clears the signal. If that takes rights from it, no program that it starts gets them back.
    The child leads a process group of its own: Ctrl-C in the terminal reaches the worker, which stops it in order.
    """
    parent, group, user = os.getpid(), os.getgid(), os.geteuid()

    def prepare() -> None:
        if first:
            first()
        os.setpgid(0, 0)
        if os.getegid() != group:
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
            take_no_more_rights()
        die_with_parent(number)
        if os.getppid() != parent:  # it ended before it was bound to
            os._exit(1)

    return prepare


@contextmanager
def as_real_group() -> Iterator[None]:
    """Look at this process's driver and browser as one of their group, if its own effective one is another.

    /proc shows what a process has open, its program and its environment only to who has its group, too, which
    is measured by the file-system group of the thread that looks (ptrace(2), "access mode checking"; setfsgid(2)).
    """
    real, effective = os.getgid(), os.getegid()
    if real == effective:
        yield
        return
    parent, number = os.getppid(), _parents_signal()
    _libc.setfsgid(real)
    try:
        yield
    finally:
        _libc.setfsgid(effective)
        _prctl(_PR_SET_PDEATHSIG, number)  # which the change has cleared, if this thread is the one that was forked
        if number and os.getppid() != parent:
            os.kill(os.getpid(), number)


def wait_for_end(pids: Collection[int]) -> set[int]:
    """Wait until one of these processes, which need not be children, has ended; return those that have.

    A zombie has ended. Where the kernel or a container's seccomp filter has no pidfd_open(2), /proc is looked at.
    """
    try:
        return _wait_by_descriptors(pids)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    while not (ended := {pid for pid in pids if has_ended(pid)}):
        time.sleep(_LOOK_S)
    return ended


def _wait_by_descriptors(pids: Collection[int]) -> set[int]:
    poll, opened = select.poll(), {}
    try:
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                return {pid}
            opened[descriptor] = pid
            poll.register(descriptor, select.POLLIN)
        return {opened[descriptor] for descriptor, _ in poll.poll()}
    finally:
        for descriptor in opened:
            os.close(descriptor)


def has_ended(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def _parents_signal() -> int:
    number = ctypes.c_int()
    _prctl(_PR_GET_PDEATHSIG, ctypes.addressof(number))
    return number.value


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
