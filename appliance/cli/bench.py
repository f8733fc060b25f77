"""`applctl bench`: what a grid gives its users, measured as one of them."""

from __future__ import annotations

import asyncio
import importlib.metadata
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from appliance.cli.client import Target, client_environment, failed, open_target, target_options
from appliance.cli.command import command
from appliance.cli.output import Output, counted, table
from appliance.errors import ApplianceError
from appliance.grid.grid import open_grid
from appliance.names import Browser, Isolation, minor_version
from appliance.settings.config import Settings

if TYPE_CHECKING:
    from playwright.async_api import BrowserType

_BOTH = "both"
_ALONE_S = 3.0  # at most, for the sessions one at a time
_AT_A_TIME = 5  # at most, unless more are asked for
_PAUSE_S = 0.5  # after a failure, so that a grid that refuses is not stormed
_ERRORS_SHOWN = 3
_PAGE = "data:text/html,<title>bench</title><h1>A page</h1>"  # no network is measured


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure; `isolations` are query parameters, "" for the grid's own setting."""

    browser: Browser
    isolations: tuple[str, ...]
    at_a_time: int
    seconds: float


@dataclass(slots=True)
class Spread:
    """How long something took, in milliseconds; 95 of 100 were as quick as `p95_ms`."""

    median_ms: float
    p95_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: list[float]) -> Spread | None:
        """Return the spread of times; None if there are none."""
        if not seconds:
            return None
        ordered = sorted(one * 1000 for one in seconds)
        p95 = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
        return cls(round(statistics.median(ordered), 1), round(p95, 1), round(ordered[-1], 1))


@dataclass(slots=True)
class Figures:
    """What so many sessions at a time gave; the times are those of whole sessions."""

    isolation: str
    at_a_time: int
    seconds: float = 0.0
    connects_s: list[float] = field(default_factory=list)
    pages_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def per_s(self) -> float:
        """Sessions per second."""
        return len(self.pages_s) / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        connect, page = Spread.of(self.connects_s), Spread.of(self.pages_s)
        return {
            "isolation": self.isolation or None,
            "at_a_time": self.at_a_time,
            "seconds": round(self.seconds, 3),
            "sessions": len(self.pages_s),
            "sessions_per_s": round(self.per_s, 2),
            "connect": connect and asdict(connect),
            "first_page": page and asdict(page),
            "failed": self.errors.total(),
            "errors": dict(self.errors),
        }


@command(
    "applctl bench",
    "applctl bench --sessions 10 --seconds 30 --isolation both",
    "applctl bench --url wss://grid.example.org --token TOKEN --json | jq '.results[].sessions_per_s'",
    exit_codes="0  all sessions were whole\n1  some failed",
)
@click.option(
    "-n", "--sessions", type=click.IntRange(1, 1000), help="Sessions at a time. Default: the free slots, 5 at most."
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=10.0,
    show_default=True,
    help="Seconds to measure with so many.",
)
@click.option("--browser", type=click.Choice([one.value for one in Browser]), help="Default: DEFAULT_BROWSER_TYPE.")
@click.option(
    "--isolation",
    type=click.Choice([*(one.value for one in Isolation), _BOTH]),
    help="Measure shared browsers, browsers of their own, or both. Default: as the grid is set.",
)
@target_options
def bench(
    out: Output,
    sessions: int | None,
    seconds: float,
    browser: str | None,
    isolation: str | None,
    url: str | None,
    token: str | None,
) -> dict[str, Any]:
    """Measure a grid as its users see it.

    Opens sessions one at a time, then several at a time. Measures how long the connect takes, how long it takes from
    the connect to the first page, and how many sessions there are in a second. The sessions are named applctl-bench,
    open a page that needs no network, and count towards the workers' quotas. The clients run here: on the grid's own
    machine, they share its processors.
    """
    with open_target(url, token) as target:
        chosen = Browser(browser or target.default_browser)
        at_a_time = _say_slots(out, target.settings, chosen, sessions) if target.settings else sessions or _AT_A_TIME
        isolations = tuple(Isolation) if isolation == _BOTH else (isolation or "",)
        with out.busy(f"Measuring with {counted(at_a_time, 'session')} at a time"), client_environment(target):
            found = asyncio.run(_measure(target, Plan(chosen, isolations, at_a_time, seconds)))
    out.show(_table(found))
    for error in _errors(found):
        out.warn(error)
    out.exit_code = int(any(figures.errors for figures in found))
    return {"browser": chosen, "at_a_time": at_a_time, "results": [figures.as_dict() for figures in found]}


def _say_slots(out: Output, settings: Settings, browser: Browser, wanted: int | None) -> int:
    """Return how many sessions there are at a time, and say how many slots that takes."""
    minor = minor_version(importlib.metadata.version("playwright"))
    with open_grid(settings) as grid:
        pools = [pool for pool in grid.capacity() if (pool.browser, pool.version) == (browser, minor)]
    slots, free = sum(pool.slots for pool in pools), sum(pool.free for pool in pools)
    if not free and wanted is None:
        raise ApplianceError(
            f"all {slots} slots for {browser} {minor} are taken: this would measure only the queue",
            "Try again later; or name a number of sessions, which wait like others: applctl bench --sessions 2",
        )
    at_a_time = wanted or min(free, _AT_A_TIME)
    out.say(f"Takes {at_a_time} of {counted(slots, 'slot')} for {browser} {minor}; {free} are free.")
    if at_a_time > free:
        out.warn("Its sessions wait for slots, and so do others meanwhile.")
    return at_a_time


async def _measure(target: Target, plan: Plan) -> list[Figures]:
    """Measure all isolations, each one at a time and several at a time. Raises SessionFailed if the first one fails."""
    from playwright.async_api import Error, async_playwright

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Leave out what the client's own tasks meet when Ctrl-C ends its driver: nobody waits for them."""
        if not isinstance(context.get("exception"), Error):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(note)
    found = []
    async with async_playwright() as playwright:
        kind: BrowserType = getattr(playwright, plan.browser)
        for isolation in plan.isolations:
            try:
                await _session(kind, target, Figures(isolation, 1))  # it may find cold caches
            except Error as error:
                raise failed(target, error.message) from error
            if plan.at_a_time > 1:
                found.append(await _crowd(kind, target, isolation, 1, min(plan.seconds, _ALONE_S)))
            found.append(await _crowd(kind, target, isolation, plan.at_a_time, plan.seconds))
    return found


async def _crowd(kind: BrowserType, target: Target, isolation: str, at_a_time: int, seconds: float) -> Figures:
    """Run sessions one after another, so many at a time, for so many seconds."""
    from playwright.async_api import Error

    figures, began = Figures(isolation, at_a_time), time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - began < seconds:
            try:
                await _session(kind, target, figures)
            except Error as error:
                figures.errors[failed(target, error.message).args[0]] += 1
                await asyncio.sleep(_PAUSE_S)

    await asyncio.gather(*(client() for _ in range(at_a_time)))
    figures.seconds = time.perf_counter() - began
    return figures


async def _session(kind: BrowserType, target: Target, figures: Figures) -> None:
    """Run one session, and add its times if it is whole."""
    parameters = {"name": "applctl-bench"} | ({"isolation": figures.isolation} if figures.isolation else {})
    began = time.perf_counter()
    async with await kind.connect(target.url(**parameters), **target.connect_options()) as browser:
        connected = time.perf_counter()
        page = await browser.new_page()
        await page.goto(_PAGE)
        shown = time.perf_counter()
    figures.connects_s.append(connected - began)
    figures.pages_s.append(shown - began)


def _table(found: list[Figures]) -> Table:
    shown = table("Isolation", "At a time", "Connect", "95 %", "First page", "95 %", "Sessions/s", "Failed")
    for one in found:
        connect, page = Spread.of(one.connects_s), Spread.of(one.pages_s)
        times = [f"{ms:.0f} ms" for spread in (connect, page) if spread for ms in (spread.median_ms, spread.p95_ms)]
        per_s, errors = f"{one.per_s:.1f}", str(one.errors.total())
        shown.add_row(one.isolation or "default", str(one.at_a_time), *(times or 4 * [""]), per_s, errors)
    return shown


def _errors(found: list[Figures]) -> Iterator[str]:
    """Return what failed sessions met, the most frequent first."""
    errors = sum((figures.errors for figures in found), Counter[str]())
    for message, count in errors.most_common(_ERRORS_SHOWN):
        yield f"{count} ×: {message}"
