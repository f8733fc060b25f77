"""Notices when a worker's driver or browser ends, at once and why, and when one of them hangs, soon.

Facts
 1. A browser ends with its driver, and a driver with its browser: with exit code 0, in 0.1 s (workers/driver.py). An
    error that nobody caught lets the driver kill the browser before it ends itself. So what ends first need not be what
    failed.
 2. How the browser ended, its driver alone is told by the kernel. It passes that on (workers/preload/ends.js).
"""

from __future__ import annotations

import errno
from collections.abc import Collection
from pathlib import Path

import psutil

from appliance import logs
from appliance.deadline import Deadline
from appliance.errors import LaunchError
from appliance.grid.values import CrashCause
from appliance.machine import kernel
from workers import probe, reasons
from workers.driver import Driver
from workers.orders import Orders

log = logs.get_logger()

FOLLOWS_S = 0.5  # for a driver to follow its browser, or to say how that ended
RETRY_S = 1.0

_OWN_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}  # for which a browser is not to blame


class Watch:
    """Tells a worker's orders what crashed, in words for the clients of its sessions."""

    def __init__(self, driver: Driver, browser_pid: int, orders: Orders, hang_timeout_s: float) -> None:
        """Set the driver that is up, whom to tell, and the seconds after which a silent browser counts as hung."""
        self._driver = driver
        self._browser_pid = browser_pid
        self._orders = orders
        self._hang_timeout_s = hang_timeout_s
        self._oom_kills = _oom_kills()

    def start(self) -> None:
        """Watch from now on, each danger in a thread of its own."""
        watched = {self._driver.process.pid, self._browser_pid, *_zygotes_of(self._browser_pid)}
        self._orders.start_thread("watch for ends", lambda: self._for_ends(watched))
        self._orders.start_thread("watch for hanging", self._for_hanging)

    def _for_ends(self, watched: Collection[int]) -> None:
        kernel.wait_for_end(watched)
        if not self._driver.is_told_to_end:
            self._orders.crashed(*self._reason())

    def _reason(self) -> tuple[str, CrashCause]:
        """Find out what has ended of its own, and why."""
        driver, name = self._driver, self._orders.worker_name
        self._orders.look_for(lambda: driver.has_ended or self._browser_pid in driver.ends, FOLLOWS_S)
        code, how = driver.process.poll(), driver.ends.get(self._browser_pid, "")
        driver.report()
        driver_ended = "" if code is None else reasons.ending(code)
        log.warning("driver.ended", driver=driver_ended, browser=how, oom_kills=_oom_kills() - self._oom_kills)
        if code:
            return reasons.of_driver(name, code, driver.lines), CrashCause.DRIVER
        if code is None and not kernel.has_ended(self._browser_pid):
            return reasons.of_zygote(name), CrashCause.BROWSER
        return reasons.of_browser(name, how), CrashCause.BROWSER

    def _for_hanging(self) -> None:
        while not self._orders.crash:
            self._orders.doubted.wait(self._hang_timeout_s)
            self._oom_kills = _oom_kills()
            if reason := self._ask():
                self._orders.crashed(reason, CrashCause.HANG)
                return
            if self._orders.doubted.is_set():
                self._orders.doubted.clear()
                self._orders.vouched.set()

    def _ask(self) -> str:
        """Ask the browser until it answers; return why its worker must end, if it does not within the time.

        A driver that refuses at once is no hang: it may be short of descriptors for a moment, and its sessions go on.
        """
        deadline = Deadline(self._hang_timeout_s)
        while True:
            try:
                probe.check(self._driver.socket, max(RETRY_S, deadline.left_s))
                return ""
            except LaunchError as error:
                log.warning("browser.silent", error=str(error))
                if self._orders.look_for(lambda: self._orders.crash, RETRY_S if self._driver.has_ended else 0):
                    return ""  # what has ended says more
                is_own = getattr(error.__cause__, "errno", None) in _OWN_ERRORS
                if not is_own and (deadline.is_over or not str(error).startswith("the driver")):
                    return reasons.of_silence(self._orders.worker_name, str(error))
            self._orders.look_for(lambda: self._orders.crash, RETRY_S)


def _oom_kills() -> int:
    """Count the processes that the kernel has killed for want of memory, on the whole machine (linux, mm/vmstat.c)."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def _zygotes_of(browser_pid: int) -> list[int]:
    """Return the processes that Chromium forks its pages from.

    It has them from its start and never replaces one; without them it opens contexts, but each new page hangs.
    """
    try:
        children = psutil.Process(browser_pid).children(recursive=True)
        return [child.pid for child in children if "--type=zygote" in child.cmdline()]
    except psutil.NoSuchProcess:  # the browser has ended already, which is noticed by itself
        return []
