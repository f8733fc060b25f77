"""POOLS: the pools of an appliance beside those of its own driver, each of one browser and one Playwright version."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from appliance.names import Browser
from appliance.settings.networks import split

_FORM = re.compile(r"(?P<browser>\w+)@(?P<minor>\d+\.\d+):(?P<workers>\d+)", re.ASCII)


class Pool(NamedTuple):
    """One pool of an appliance; `minor` is "" for the appliance's own driver, else a version such as "1.62"."""

    browser: Browser
    minor: str
    workers: int

    def __str__(self) -> str:
        """As POOLS has it: "chromium@1.62:2"; or "chromium:2"."""
        return f"{self.browser}{'@' if self.minor else ''}{self.minor}:{self.workers}"


def parse_pools(value: Any) -> list[str]:
    """Read POOLS; raises ValueError. The pools stay text, which `further_pools` understands."""
    found = [_parse_one(text) for text in split(value)]
    names = [pool[:2] for pool in found]
    for pool in found:
        if names.count(pool[:2]) > 1:
            raise ValueError(f"{pool.browser}@{pool.minor} is there twice: name each pool once")
    return [str(pool) for pool in found]


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
