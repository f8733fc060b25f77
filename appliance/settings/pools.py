"""The pools of an appliance: POOLS, those beside its own driver's, and which worker is in which pool.

Each pool has one browser and one Playwright version.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from appliance.names import Browser
from appliance.settings.networks import split

MAX_WORKERS = 200  # of a browser: each has a number, and a user id of its own
AUTO, NONE = "auto", "none"  # of DRIVERS: all versions that can be served; no others than the pools' own
_MINOR = re.compile(r"\d+\.\d+", re.ASCII)
_NAME = re.compile(r"(?P<browser>\w+)(@(?P<minor>\d+\.\d+))?", re.ASCII)
_FORM = re.compile(r"(?P<browser>\w+)@(?P<minor>\d+\.\d+):(?P<workers>\d+)", re.ASCII)


class Pool(NamedTuple):
    """One pool of an appliance; `minor` is "" for the appliance's own driver, else a version such as "1.62".

    `spares` are the workers that stand by beside the `workers` that serve. A pool that is `on_demand` is in no setting:
    it is there because a client wanted it.
    """

    browser: Browser
    minor: str
    workers: int
    spares: int = 0
    on_demand: bool = False

    def __str__(self) -> str:
        """As POOLS has it: "chromium@1.62:2"; or "chromium:2"."""
        return f"{self.name}:{self.workers}"

    @property
    def name(self) -> str:
        """What commands call it: "chromium@1.62", or "chromium"."""
        return f"{self.browser}{'@' if self.minor else ''}{self.minor}"

    @property
    def size(self) -> int:
        """How many worker processes it has."""
        return self.workers + self.spares


def parse_pools(value: Any) -> list[str]:
    """Read POOLS; raises ValueError. The pools stay text, which `further_pools` understands."""
    found = [_parse_one(text) for text in split(value)]
    names = [pool[:2] for pool in found]
    for pool in found:
        if names.count(pool[:2]) > 1:
            raise ValueError(f"{pool.browser}@{pool.minor} is there twice: name each pool once")
    return [str(pool) for pool in found]


def parse_drivers(value: Any) -> list[str]:
    """Read DRIVERS: "auto", "none", or Playwright versions; raises ValueError."""
    found: list[str] = split(value)
    for text in found:
        if text in (AUTO, NONE):
            if len(found) > 1:
                raise ValueError(f"{text} stands alone: write auto, none, or versions like 1.62,1.60")
        elif not _MINOR.fullmatch(text):
            raise ValueError(f"{text!r} is no version: write auto, none, or versions like 1.62,1.60")
    return found or [AUTO]


def parse_name(text: str) -> tuple[Browser, str]:
    """Read a pool's name: "chromium@1.62", or "chromium" for the appliance's own driver; raises ValueError."""
    parts = _NAME.fullmatch(text)
    if parts is None or parts["browser"] not in list(Browser):
        known = ", ".join(Browser)
        raise ValueError(f"{text!r} names no pool: write a browser, or a browser and a version, like chromium@1.62. "
                         f"Browsers: {known}")  # fmt: skip
    return Browser(parts["browser"]), parts["minor"] or ""


def place(
    pools: Sequence[Pool], before: Mapping[str, Pool], leaving: Sequence[str] = (), taken: Collection[str] = ()
) -> dict[str, Pool]:
    """Return the pool of each worker, by the worker's name such as "chromium-02".

    Workers stay in the pool in which they were `before`. Of a pool that shrinks, those leave that come first in
    `leaving`. New ones get the lowest free numbers of their browser; those in `taken` are not free. Raises ValueError
    if a browser has more than MAX_WORKERS.
    """
    placed: dict[str, Pool] = {}
    for pool in pools:
        own = [name for name, known in before.items() if known.name == pool.name]
        own.sort(key=lambda name: leaving.index(name) if name in leaving else len(leaving))
        placed |= dict.fromkeys(own[max(0, len(own) - pool.size) :], pool)
    for pool in pools:
        missing = pool.size - sum(known == pool for known in placed.values())
        free = _free_names(pool.browser, {*placed, *before, *taken})
        placed |= {next(free): pool for _ in range(missing)}
    return dict(sorted(placed.items(), key=lambda item: _order(item[0])))


def _order(name: str) -> tuple[str, int]:
    browser, _, number = name.rpartition("-")
    return browser, int(number)


def _free_names(browser: Browser, taken: Collection[str]) -> Iterator[str]:
    for number in count():
        if number == MAX_WORKERS:
            raise ValueError(f"{browser} has at most {MAX_WORKERS} workers in all pools, the spare ones too")
        if (name := f"{browser}-{number:02}") not in taken:
            yield name


def further_pools(texts: list[str]) -> list[Pool]:
    """Return the pools that `parse_pools` has read."""
    return [_parse_one(text) for text in texts]


def _parse_one(text: str) -> Pool:
    parts = _FORM.fullmatch(text)
    if parts is None:
        raise ValueError(f"{text!r} is not of the form BROWSER@VERSION:WORKERS, like chromium@1.62:2")
    if parts["browser"] not in list(Browser):
        raise ValueError(f"{text!r} names no browser; known: {', '.join(Browser)}")
    if not int(parts["workers"]):
        raise ValueError(f"{text!r} has no workers: leave it out, or give it at least 1")
    return Pool(Browser(parts["browser"]), parts["minor"], int(parts["workers"]))
