"""Start pools on demand, one at a time, and end idle ones.

It is the only process that does so on an appliance. Which appliance serves a wish, Redis decides
(appliance/grid/lua/wishes.lua): this one asks for a wish every second, and when a message says that there is one, and
reports on it while it works. What it does not report ends with its hold, and another appliance takes the wish.

It may end at any moment. The next one first does what is missing of a change of the pools, and takes the wish again.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable

from appliance import logs
from appliance.errors import ApplianceError
from appliance.grid.grid import Grid
from appliance.grid.mailbox import Mailbox
from appliance.grid.values import Wish
from appliance.machine import drivers
from appliance.machine.install.index import offered_minors
from appliance.pools.index import Index, words_of
from appliance.pools.providing import Provider, pip_environment
from appliance.pools.resizing import NoRoom
from appliance.pools.usage import Usage
from appliance.request_errors import StoreUnavailable
from appliance.settings.config import Settings

log = logs.get_logger()

LOOK_S = 1.0
TTL_S = 5.0  # an appliance that is silent for so long gets no drivers
HOLD_S = 10.0
REPORT_S = 1.0


class Keeper:
    """The loop of one appliance."""

    def __init__(self, settings: Settings, grid: Grid) -> None:
        """Set the settings that the appliance was started with."""
        self._settings, self._grid = settings, grid
        self._minors = drivers.on_demand(settings)
        self._usage = Usage(settings.pool_idle_timeout)
        self._index = Index(lambda: offered_minors(pip_environment(settings)), self._minors)
        self._provider = Provider(settings, grid, self._usage, self._index)
        self._is_away = False
        self._news = threading.Event()

    def run(self) -> None:
        """Look for wishes, and after pools that nobody uses, for ever."""
        mailbox = Mailbox(self._grid.store, "pools", self._settings.appliance_name, lambda _: self._news.set())
        threading.Thread(target=mailbox.run, daemon=True).start()
        while True:
            self._news.clear()
            self._index.refresh()
            try:
                self.look()
                self._is_away = False
            except StoreUnavailable as error:
                self._note_away(error)
            except ApplianceError as error:  # supervisord is about to stop, say
                log.error("pools.failed", error=str(error))
            self._news.wait(LOOK_S)

    def look(self) -> None:
        """Serve one wish, if there is one; then end or resize one pool, if that is due."""
        self._provider.settle()
        if wish := self._take_wish():
            self._serve(wish)
        self._tend()

    def _tend(self) -> None:
        """End or resize one pool, if that is due."""
        self._provider.observe()
        if idle := self._usage.idle():
            log.info("pool.ended", browser=idle[0], version=idle[1], idle_s=self._settings.pool_idle_timeout)
            self._provider.end(idle)
        elif oversized := self._usage.oversized():
            (browser, version), workers = oversized
            log.info("pool.shrunk", browser=browser, version=version, workers=workers)
            self._provider.set_size((browser, version), workers)
        else:
            self._grow()

    def _take_wish(self) -> Wish | None:
        """Say which drivers this appliance can get, and return the wish that it holds, if any."""
        there = {driver.minor for driver in drivers.added(self._settings)}
        lacking = {minor: why for minor in self._minors if minor not in there and (why := self._index.why_not(minor))}
        minors = [minor for minor in self._minors if minor not in lacking]
        return self._grid.take_wish(self._settings.appliance_name, minors, TTL_S, HOLD_S, lacking, there)

    def _grow(self) -> None:
        for browser, version in self._usage.crowded():
            if self._provider.grow((browser, version)):
                log.info("pool.grown", browser=browser, version=version)
                return

    def _note_away(self, error: StoreUnavailable) -> None:
        if not self._is_away:
            log.warning("redis.away", error=str(error))
        self._is_away = True

    def _serve(self, wish: Wish) -> None:
        """Get the pool of a wish, and report on it while that lasts."""
        log.info("pool.wanted", browser=wish.browser, version=wish.minor)
        name, began = self._settings.appliance_name, time.monotonic()
        work = Work(lambda say: self._provider.provide(wish, say))
        while not work.is_over(REPORT_S):
            self._report(wish, work.doing)
            self._tend_meanwhile()
        after_s = round(time.monotonic() - began, 1)
        if work.failure:
            log.error("pool.failed", browser=wish.browser, version=wish.minor, reason=work.failure, after_s=after_s)
        else:
            log.info("pool.started", browser=wish.browser, version=wish.minor, after_s=after_s)
        self._grid.report_wish(name, wish, work.outcome, work.failure)

    def _tend_meanwhile(self) -> None:
        """Look after the other pools while a wish is served; whatever fails, that goes on."""
        if not self._provider.usage_lock.acquire(blocking=False):
            return
        try:
            self._tend()
        except StoreUnavailable as error:
            self._note_away(error)
        except ApplianceError as error:
            log.error("pools.failed", error=str(error))
        finally:
            self._provider.usage_lock.release()

    def _report(self, wish: Wish, doing: str) -> None:
        """Hold a wish that is being served. Without Redis the work goes on: a second one would be in its way."""
        name = self._settings.appliance_name
        try:
            self._grid.report_wish(name, wish, "held", doing, HOLD_S)
            self._take_wish()  # it still gets drivers
        except StoreUnavailable as error:
            self._note_away(error)


class Work:
    """Work in a thread, which says what it is doing, and in the end why it failed."""

    def __init__(self, work: Callable[[Callable[[str], None]], None]) -> None:
        """Begin."""
        self.doing = self.failure = ""
        self.outcome = "done"  # as `report_wish` has it
        self._work = work
        self._over, self._news = threading.Event(), threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def is_over(self, within_s: float) -> bool:
        """Wait until it is over, or does something else; return whether it is over."""
        self._news.wait(within_s)
        self._news.clear()
        return self._over.is_set()

    def _run(self) -> None:
        try:
            self._work(self._say)
        except (ApplianceError, OSError, subprocess.SubprocessError) as error:
            self.outcome, self.failure = "full" if isinstance(error, NoRoom) else "failed", words_of(error)
        except Exception as error:  # a fault of our own: the wish must not be held for ever
            log.exception("pools.fault")
            self.outcome, self.failure = "failed", f"{type(error).__name__}: {error}"
        finally:
            self._over.set()
            self._news.set()

    def _say(self, doing: str) -> None:
        self.doing = doing
        self._news.set()
