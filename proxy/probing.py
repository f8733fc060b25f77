"""Probes of the appliances that this proxy does not reach, until it does: no client must try its luck for that."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack

import gevent
from gevent.event import Event

from appliance import logs
from appliance.errors import DialFailed
from appliance.grid.grid import Grid
from appliance.grid.reach import EVERYWHERE, Reach, Trouble
from appliance.grid.values import Grant
from appliance.request_errors import StoreUnavailable
from proxy.dial import Connection
from proxy.handshake import Headers

log = logs.get_logger()

FIRST_PAUSE_S = 0.1  # an appliance's proxy that starts again is back within a second
LONGEST_PAUSE_S = 2.0
PROBE = "probe"  # instead of a session's id
AT_ONCE = 3  # workers: one may hang
HEADROOM = 16  # descriptors that must be free before sessions are served again: each takes two


class Prober:
    """Probes in a greenlet of its own while there is trouble."""

    def __init__(self, reach: Reach, grid: Grid, dial: Callable[[Headers, Grant], Connection]) -> None:
        """Probe with `dial`, which connects to a worker as for a session, and raises DialFailed."""
        self._reach = reach
        self._grid = grid
        self._dial = dial
        self._wanted = Event()

    def wake(self) -> None:
        """Probe now, if there is trouble."""
        self._wanted.set()

    def run(self) -> None:
        """Probe what is out of reach, again and again, for ever."""
        pause_s = FIRST_PAUSE_S
        while True:
            if not self._reach.troubles:
                self._wanted.wait()
                pause_s = FIRST_PAUSE_S
            self._wanted.clear()
            gevent.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
            for name, trouble in list(self._reach.troubles.items()):
                self._try_to_probe(name, trouble)

    def _try_to_probe(self, name: str, trouble: Trouble) -> None:
        try:
            self._probe(name, trouble.appliance, trouble.dialled)
        except Exception:  # a fault in one probe must not end all further ones
            log.exception("proxy.probe_failed", appliance=trouble.appliance)

    def _probe(self, name: str, appliance: str, dialled: str) -> None:
        if name == EVERYWHERE and not _has_descriptors():
            return
        try:
            workers = self._grid.workers_on(appliance, AT_ONCE)
        except StoreUnavailable:
            workers = [dialled]
        if not workers:  # nobody is there to be reached
            self._reach.forget(name)
        elif any(self._reaches(name, appliance, worker) for worker in workers):
            self._reach.succeeded(appliance)

    def _reaches(self, name: str, appliance: str, worker: str) -> bool:
        """Ask a worker for a session without a client's headers: its refusal shows that it is reached."""
        try:
            self._dial((), Grant(PROBE, worker, "", appliance, 0)).socket.close()
        except DialFailed as error:
            self._reach.probe_failed(name, error)
            return False
        except StoreUnavailable:  # nobody knows where the worker is; sessions are refused for that
            if name == EVERYWHERE:
                self._reach.forget(name)
            return False
        return True


def _has_descriptors() -> bool:
    """Return whether HEADROOM further descriptors can be had."""
    try:
        with ExitStack() as opened:
            for _ in range(HEADROOM):
                opened.enter_context(socket.socket(socket.AF_UNIX))
    except OSError:
        return False
    return True
