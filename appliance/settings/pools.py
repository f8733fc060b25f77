"""The pools of an appliance: POOLS, the numbers of workers that are its short form, and which worker is in which pool.

Each pool has one browser and one Playwright version, and options in which it differs from the other settings.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from appliance.names import BESIDE, Browser, without_beside
from appliance.settings.networks import split
from appliance.settings.pool_options import OPTIONS, SPARES

MAX_WORKERS = 200  # of a browser: each has a number, and a user id of its own
AUTO, NONE = "auto", "none"  # of DRIVERS: all versions that can be served; no others than the pools' own
_MINOR = re.compile(r"\d+\.\d+", re.ASCII)
_NAME = re.compile(rf"(?P<browser>\w+)(@(?P<version>\d+\.\d+))?(?P<beside>{BESIDE})?", re.ASCII)
_FORM = re.compile(rf"(?P<name>{_NAME.pattern}):(?P<workers>\d+)", re.ASCII)
_OPTION = re.compile(r"(?P<name>[a-zA-Z][\w-]*)=(?P<value>.*)", re.ASCII | re.DOTALL)

Key = tuple[Browser, str]  # of a pool: its browser and its minor


class Pool(NamedTuple):
    """One pool of an appliance; `minor` is "" for the appliance's own driver, else a version such as "1.62".

    BESIDE is behind it if the pool takes the sessions with isolation=browser of the pool beside it, and no others.
    `spares` are the workers that stand by beside the `workers` that serve. A pool that is `on_demand` is in no setting:
    it is there because a client wanted it. `options` are those of POOLS, by their names.
    """

    browser: Browser
    minor: str
    workers: int
    spares: int = 0
    on_demand: bool = False
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """As POOLS has it: "chromium@1.62:2 isolation=browser"; or "chromium:2"."""
        return " ".join([f"{self.name}:{self.workers}", *(f"{name}={_quoted(value)}" for name, value in self.options)])

    @property
    def key(self) -> Key:
        """What no other pool of the appliance has."""
        return self.browser, self.minor

    @property
    def name(self) -> str:
        """What commands call it: "chromium@1.62", "chromium" or "chromium/browser"."""
        return f"{self.browser}{'@' if self.version else ''}{self.minor}"

    @property
    def version(self) -> str:
        """The Playwright minor of its clients; "" if the appliance's own driver serves them."""
        return without_beside(self.minor)

    @property
    def is_beside(self) -> bool:
        """Whether it takes only the sessions with isolation=browser of the pool beside it."""
        return self.minor.endswith(BESIDE)

    def minor_in_grid(self, own: str) -> str:
        """Return its minor in Redis; `own` is the version of the appliance's own driver."""
        return (self.version or own) + BESIDE * self.is_beside

    @property
    def size(self) -> int:
        """How many worker processes it has."""
        return self.workers + self.spares

    def runs_as(self, other: Pool) -> bool:
        """Whether another pool is this one, with the same options for each worker."""
        mine, others = ([one for one in pool.options if one[0] != SPARES] for pool in (self, other))
        return self.key == other.key and sorted(mine) == sorted(others)


def parse_pools(value: Any) -> list[str]:
    """Read POOLS; raises ValueError, which names all that is wrong.

    The pools stay text, which `further_pools` understands: "chromium@1.62:2", and each of its options behind it.
    """
    words: list[str] = split(value)
    wrong = list(_wrong_words(words))
    names = [found["name"] for word in words if (found := _FORM.fullmatch(word))]
    wrong += [f"{name} is there twice: name each pool once" for name in dict.fromkeys(names) if names.count(name) > 1]
    if wrong:
        raise ValueError("; ".join(wrong))
    return words


def _wrong_words(words: list[str]) -> Iterator[str]:
    pool, options = "", set[str]()
    for word in words:
        form, option = _FORM.fullmatch(word), _OPTION.fullmatch(word)
        if option and pool:
            name = _option_name(option["name"])
            if name not in OPTIONS:
                yield f"{pool} has an unknown option {option['name']}; the options: {', '.join(OPTIONS)}"
            elif name == "isolation" and pool.endswith(BESIDE):
                yield f"{pool} has isolation=browser by its name"
            elif name in options:
                yield f"{pool} has the option {name} twice"
            options.add(name)
        elif form is None:
            yield f"{word!r} is not of the form BROWSER@VERSION:WORKERS, like chromium@1.62:2, nor OPTION=VALUE"
        else:
            pool, options = form["name"], set[str]()
            if form["browser"] not in list(Browser):
                yield f"{word!r} names no browser; known: {', '.join(Browser)}"
            elif not int(form["workers"]):
                yield f"{word!r} has no workers: leave it out, or give it at least 1"


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


def parse_name(text: str) -> Key:
    """Read a pool's name: "chromium@1.62", or "chromium" for the appliance's own driver; raises ValueError."""
    parts = _NAME.fullmatch(text)
    if parts is None or parts["browser"] not in list(Browser):
        known = ", ".join(Browser)
        raise ValueError(f"{text!r} names no pool: write a browser, or a browser and a version, like chromium@1.62; "
                         f"with {BESIDE} behind it for isolation=browser. "
                         f"Browsers: {known}")  # fmt: skip
    return Browser(parts["browser"]), _minor_of(parts)


def place(
    pools: Sequence[Pool], before: Mapping[str, Pool], leaving: Sequence[str] = (), taken: Collection[str] = ()
) -> dict[str, Pool]:
    """Return the pool of each worker, by the worker's name such as "chromium-02".

    Workers stay in the pool in which they were `before`, unless its options have changed. Of a pool that shrinks, those
    leave that come first in `leaving`. New ones get the lowest free numbers of their browser; those in `taken` are not
    free. Raises ValueError if a browser has more than MAX_WORKERS.
    """
    placed: dict[str, Pool] = {}
    for pool in pools:
        own = [name for name, known in before.items() if pool.runs_as(known)]
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


def pools_of(words: Sequence[str], workers: Mapping[Browser, int], spares: int = 0) -> list[Pool]:
    """Return all pools of the settings, those of the appliance's own driver first.

    `words` are those of POOLS. `workers` are the numbers that CHROMIUM_WORKERS and so on give, which count where POOLS
    names no pool of that browser's own driver. `spares` is the number for pools that name none.
    """
    named = further_pools(words, spares)
    own = {pool.browser: pool for pool in named if not pool.minor}
    pools = [own.get(browser) or Pool(browser, "", number, spares) for browser, number in workers.items()]
    return [pool for pool in [*pools, *(one for one in named if one.minor)] if pool.workers]


def further_pools(words: Sequence[str], spares: int = 0) -> list[Pool]:
    """Return the pools that `parse_pools` has read."""
    found: list[Pool] = []
    for word in words:
        if form := _FORM.fullmatch(word):
            found.append(Pool(Browser(form["browser"]), _minor_of(form), int(form["workers"]), spares))
        elif option := _OPTION.fullmatch(word):
            found[-1] = with_option(found[-1], _option_name(option["name"]), option["value"])
    return found


def with_option(pool: Pool, name: str, value: str) -> Pool:
    """Return a pool with an option set to a value, or without it if the value is ""."""
    others = [one for one in pool.options if one[0] != name]
    spares = int(value) if name == SPARES and value.isdecimal() else pool.spares
    return pool._replace(options=(*others, *([(name, value)] if value else [])), spares=spares)


def _minor_of(parts: re.Match[str]) -> str:
    return (parts["version"] or "") + (parts["beside"] or "")


def _option_name(text: str) -> str:
    return text.lower().replace("-", "_")


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[^\s,'\"\\]+", value) else shlex.quote(value)
