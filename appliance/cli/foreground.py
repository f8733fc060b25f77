"""`applctl up --foreground`: for containers and systemd. It prints the logs, and a signal stops the grid in order.

Rules
 1. SIGTERM, SIGINT and SIGHUP stop the grid as `applctl down` does, also while it starts. A second signal changes
    nothing: the stop is bounded by SHUTDOWN_GRACE.
 2. It exits with 0 if the grid was stopped in order, by a signal or by `applctl down`; with 1 if it did not start, or
    if supervisord ended otherwise. Then nothing of the grid is left either.
 3. It collects orphans, as PID 1 of a container must: supervisord goes into the background, and becomes its child.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import psutil

from appliance.cli.down import stop_appliance
from appliance.cli.log_lines import Logs
from appliance.cli.output import Output, print_json
from appliance.errors import SupervisorError
from appliance.machine import kernel
from appliance.machine.supervisor import Supervisor
from appliance.settings.config import Settings

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_POLL_INTERVAL_S = 0.2


class _Told(BaseException):
    """A signal asks for the end."""


def serve(settings: Settings, out: Output, begin: Callable[[], dict[str, Any]]) -> None:
    """Start the grid by `begin`, print its logs, and return when it was stopped in order. Raises SupervisorError."""
    kernel.adopt_orphans()
    logs = Logs.of(settings)
    logs.skip()
    try:
        with _told_by_signals():
            data = begin()
            if out.as_json:
                print_json(data)
            status = _follow(_own_supervisord(settings), logs, out)
    except _Told as told:
        out.say(f"Received {told}: stopping the grid.")
        status = 0
    finally:
        if not _is_anothers(settings):
            stop_appliance(settings, out)
        logs.print_new(out)
    if status:
        raise SupervisorError(f"supervisord ended unexpectedly ({_described(status)})", "See the logs above.")
    out.say("The grid is stopped.")


def _own_supervisord(settings: Settings) -> int:
    if _is_anothers(settings):
        raise SupervisorError("the appliance was started by another `applctl up` meanwhile", "Stop it: applctl down.")
    return Supervisor(settings.run_dir).pid()


def _is_anothers(settings: Settings) -> bool:
    """Return whether a supervisord runs that this process has not started."""
    try:
        return psutil.Process(Supervisor(settings.run_dir).pid()).ppid() != os.getpid()
    except (SupervisorError, psutil.NoSuchProcess):
        return False


def _follow(supervisord: int, logs: Logs, out: Output) -> int:
    """Print the logs until supervisord has ended; returns its exit code, negative for a signal."""
    while True:
        logs.print_new(out)
        if (status := _collect(supervisord)) is not None:
            return status
        time.sleep(_POLL_INTERVAL_S)


def _collect(supervisord: int) -> int | None:
    """Collect the processes that have ended; returns the exit code of supervisord if it is one of them."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == supervisord:
            return os.waitstatus_to_exitcode(status)
        if not pid:
            return None


@contextmanager
def _told_by_signals() -> Iterator[None]:
    """Raise _Told in the block at the first signal. After that, and after the block, signals are ignored."""

    def ignore() -> None:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)

    def tell(number: int, _frame: FrameType | None) -> None:
        ignore()
        raise _Told(signal.Signals(number).name)

    for one in _SIGNALS:
        signal.signal(one, tell)
    try:
        yield
    finally:
        ignore()


def _described(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit code {status}"
