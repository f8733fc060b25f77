"""Run a command on a kernel that gives no user namespaces: `restricted.py UID COMMAND…`, as root.

The command runs in a user namespace that has every account as outside, and in which no other can be made. So
nothing of the machine is changed (user_namespaces(7), /proc/sys/user/max_user_namespaces is each namespace's own).
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000  # linux/sched.h
_ALL = "0 0 4294967295"


def main() -> None:
    """Become the command."""
    account, *command = sys.argv[1:]
    made, make = os.pipe()
    mapped, tell = os.pipe()
    child = os.getpid()
    if os.fork() == 0:  # a process outside maps the accounts
        os.close(make)
        os.close(mapped)
        os.read(made, 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{name}").write_text(_ALL)
        os.close(tell)
        os._exit(0)
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare failed")
    os.close(tell)
    os.close(make)
    os.read(mapped, 1)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    if int(account):
        os.setgroups([])
        os.setresgid(int(account), int(account), int(account))
        os.setresuid(int(account), int(account), int(account))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
