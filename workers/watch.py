"""Notices when a worker's driver or browser ends, at once, and when the browser hangs, soon."""

from __future__ import annotations

import threading

from appliance import kernel, logs
from appliance.errors import LaunchError
from workers import probe
from workers.driver import Driver
from workers.orders import Orders

log = logs.get_logger()

# A browser under a full load answers late; one that is late for so long serves nobody.
PROBE_INTERVAL_S = 30
PROBE_TIMEOUT_S = 30


class Watch:
    """Tells a worker's orders what crashed, in words for the clients of its sessions."""

    def __init__(self, driver: Driver, browser_pid: int, slot: str, orders: Orders) -> None:
        """Take the driver that is up, and whom to tell."""
        self._driver = driver
        self._browser_pid = browser_pid
        self._slot = slot
        self._orders = orders

    def start(self) -> None:
        """Watch from now on, each danger in a greenlet of its own."""
        for look in (self._for_drivers_end, self._for_browsers_end, self._for_hanging):
            threading.Thread(target=look, daemon=True).start()

    def _for_drivers_end(self) -> None:
        code = self._driver.process.wait()
        # With code 0 it followed its browser, whose end may be seen only after its own.
        which = "browser" if code == 0 else "driver"
        log.debug("driver.ended", code=code)
        self._orders.crashed(f"{which} of worker {self._slot} crashed")

    def _for_browsers_end(self) -> None:
        kernel.wait_for_end(self._browser_pid)
        self._orders.crashed(f"browser of worker {self._slot} crashed")

    def _for_hanging(self) -> None:
        while not self._orders.crash:
            self._orders.doubted.wait(PROBE_INTERVAL_S)
            try:
                probe.check(self._driver.endpoint, PROBE_TIMEOUT_S)
            except LaunchError as error:
                log.warning("browser.silent", error=str(error))
                self._orders.crashed(f"browser of worker {self._slot} stopped answering")
            if self._orders.doubted.is_set():
                self._orders.doubted.clear()
                self._orders.vouched.set()
