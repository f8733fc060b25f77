"""Notices when a worker's driver or browser ends, at once, and when the browser hangs, soon."""

from __future__ import annotations

import threading

import psutil

from appliance import kernel, logs
from appliance.errors import LaunchError
from workers import probe
from workers.driver import Driver
from workers.orders import Orders

log = logs.get_logger()


class Watch:
    """Tells a worker's orders what crashed, in words for the clients of its sessions."""

    def __init__(self, driver: Driver, browser_pid: int, slot: str, orders: Orders, hang_timeout_s: float) -> None:
        """Take the driver that is up, whom to tell, and the seconds after which a silent browser counts as hung."""
        self._driver = driver
        self._browser_pid = browser_pid
        self._slot = slot
        self._orders = orders
        self._hang_timeout_s = hang_timeout_s

    def start(self) -> None:
        """Watch from now on, each danger in a greenlet of its own."""
        for look in (self._for_drivers_end, self._for_hanging):
            threading.Thread(target=look, daemon=True).start()
        for pid in (self._browser_pid, *_zygotes_of(self._browser_pid)):
            threading.Thread(target=self._for_browsers_end, args=(pid,), daemon=True).start()

    def _for_drivers_end(self) -> None:
        code = self._driver.process.wait()
        # With code 0 it followed its browser, whose end may be seen only after its own.
        which = "browser" if code == 0 else "driver"
        log.debug("driver.ended", code=code)
        self._orders.crashed(f"{which} of worker {self._slot} crashed")

    def _for_browsers_end(self, pid: int) -> None:
        kernel.wait_for_end(pid)
        self._orders.crashed(f"browser of worker {self._slot} crashed")

    def _for_hanging(self) -> None:
        while not self._orders.crash:
            self._orders.doubted.wait(self._hang_timeout_s)
            try:
                probe.check(self._driver.socket, self._hang_timeout_s)
            except LaunchError as error:
                log.warning("browser.silent", error=str(error))
                self._orders.crashed(f"browser of worker {self._slot} stopped answering")
                return
            if self._orders.doubted.is_set():
                self._orders.doubted.clear()
                self._orders.vouched.set()


def _zygotes_of(browser_pid: int) -> list[int]:
    """Give the processes that Chromium forks its pages from.

    It has them from its start and never replaces one; without them it opens contexts, but each new page hangs.
    """
    try:
        children = psutil.Process(browser_pid).children(recursive=True)
        return [child.pid for child in children if "--type=zygote" in child.cmdline()]
    except psutil.NoSuchProcess:  # the browser has ended already, which is noticed by itself
        return []
