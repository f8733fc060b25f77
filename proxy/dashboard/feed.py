"""What the open pages are told, once a second. However many are open, the grid is read once, and only while one is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import gevent
from gevent.event import Event

from appliance import __version__, logs
from appliance.grid.grid import Grid
from appliance.grid.overview import Reader
from appliance.grid.samples import Sample, Samples
from appliance.grid.token_table import Principal
from appliance.request_errors import StoreUnavailable
from appliance.settings.config import Settings
from proxy.dashboard.snapshot import Row, Snapshot, changes

log = logs.get_logger()

LOOK_S = 1.0
PATIENCE_S = 2.5  # a page takes a feed for lost that is silent for longer than that (page/feed.js)
SAMPLES_LOOK = 5  # looks


class Feed:
    """Reads the grid for as long as somebody follows it."""

    def __init__(self, grid: Grid, settings: Settings) -> None:
        """Set what is read."""
        self._grid = grid
        self._samples = Samples(grid)
        self._followers = 0
        self._looking: gevent.Greenlet[..., None] | None = None
        self._is_over = False
        self._is_new = Event()
        self._facts: Row = {
            "version": __version__,
            "name": settings.appliance_name,
            "live_view": settings.shown_browsers,
        }
        self._forget()

    def _forget(self) -> None:
        """Begin as if nothing had been read."""
        self._reader = Reader(self._grid)
        self._last_sample, self._looks = "-", 0
        self._now = Snapshot()
        self._told: dict[
            tuple[int, str], str
        ] = {}  # the messages that lead to this snapshot, by the last one and whose

    @property
    def followers(self) -> int:
        """How many pages are told."""
        return self._followers

    def follow(self, who: Principal) -> Iterator[str]:
        """Yield messages as the page understands them (page/state.js), until the proxy stops."""
        self._followers += 1
        if self._looking is None:
            self._forget()
            self._looking = gevent.spawn(self._look_on)
        last: Snapshot | None = None
        try:
            while not self._is_over:
                if self._now is not last and (self._now.tables or self._now.trouble):
                    before, last = last, self._now
                    yield self._message(before, last, who)
                elif not self._is_new.wait(PATIENCE_S) and last is not None:
                    yield json.dumps({"type": "state", "now_ms": _later(last), "trouble": SLOW})
        finally:
            self._followers -= 1

    def end_all(self) -> None:
        """Tell nobody any more: the proxy stops."""
        self._is_over = True
        self._is_new.set()

    def _look_on(self) -> None:
        """Look again and again, for as long as somebody follows."""
        while self._followers:
            began = time.monotonic()
            self._show(self._look_or_say_why())
            gevent.sleep(max(LOOK_S / 4, LOOK_S - (time.monotonic() - began)))
        self._looking = None

    def _look_or_say_why(self) -> Snapshot:
        try:
            return self._look()
        except StoreUnavailable as error:  # where Redis is, and what it says, is not for everybody
            trouble = f"{str(error).partition(':')[0]}."
        except Exception:
            log.exception("dashboard.failed")
            trouble = "The appliance failed to read the grid."
        return replace(self._now, trouble=trouble, now_ms=_later(self._now))

    def _look(self) -> Snapshot:
        look, samples = self._reader.read(), list[Sample]()
        if self._looks % SAMPLES_LOOK == 0:
            self._last_sample, samples = self._samples.read(self._last_sample)
        self._looks += 1
        return self._now.after(look, samples, self._facts)

    def _show(self, snapshot: Snapshot) -> None:
        self._now, self._told = snapshot, {}
        waited_for, self._is_new = self._is_new, Event()
        waited_for.set()

    def _message(self, before: Snapshot | None, now: Snapshot, who: Principal) -> str:
        """Return what leads somebody from one snapshot to the next; made once for all who see the same."""
        key = id(before), "" if who.is_admin else f"token {who.name}"
        if key not in self._told:
            self._told[key] = json.dumps(changes(before and before.seen_by(who), now.seen_by(who)))
        return self._told[key]


SLOW = "The grid's state is not read within the usual time."


def _later(snapshot: Snapshot) -> int:
    return snapshot.now_ms + int(LOOK_S * 1000)
