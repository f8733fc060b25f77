"""Workers are recycled beneath their clients, one after another."""

from __future__ import annotations

import asyncio
import itertools

from playwright.async_api import async_playwright

from tests.support.appliance import Appliance, StartGrid

WORKERS, QUOTA, CLIENTS, SESSIONS = 2, 5, 4, 60
EARLY = QUOTA // 3  # sessions before its quota, at most, a worker may be recycled (recycling.lua)
STAGGER_S = 0.5


async def use(grid: Appliance, site: str) -> None:
    """Run all sessions, CLIENTS at a time; any failure is the test's."""
    numbers = iter(range(SESSIONS))
    async with async_playwright() as playwright:

        async def client() -> None:
            for _ in numbers:
                browser = await playwright.chromium.connect(grid.endpoint)
                page = await browser.new_page()
                await page.goto(site)
                assert await page.title() == "A real page"
                await browser.close()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))


def choices(lifetimes: dict[str, int], active: dict[str, int], is_recycling: bool) -> list[tuple[int, int]]:
    """Return the ranks, remaining and active, that the rule of selection may name.

    Lifetime-first: spared, beyond the margin, remaining, active. Or, of the workers whose ends are apart, the
    one with the fewest active: which these are is looked up twice a second, but the first in the order of the
    ends is always one of them, and every other has more than it left. There is a margin unless more sessions start
    while a worker is away, which is the machine's to say.
    """
    margin = max(1, QUOTA // len(lifetimes))
    ranks, without_margin = (
        [
            (is_recycling and lifetime == QUOTA - 1, QUOTA - lifetime <= most, QUOTA - lifetime, active[worker])
            for worker, lifetime in lifetimes.items()
        ]
        for most in (margin, 0)
    )
    apart = [rank[2:] for rank in ranks if rank[2] >= 2]
    first = min(apart, default=None)
    spread = [rank for rank in apart if rank == first or (rank[0] > first[0] and rank[1] <= first[1])]
    return [min(ranks)[2:], min(without_margin)[2:], *spread]


def replay(events: list[dict[str, str]]) -> tuple[int, int]:
    """Follow the grid's events and check each choice against the rule.

    Returns the number of sessions, and how many of them the workers have had that are available in the end.
    """
    lifetimes: dict[str, int] = {}  # of the available workers
    active: dict[str, int] = {}
    recycling: set[str] = set()  # the workers that drain, or are to come back
    started = 0
    for event in events:
        worker = event.get("worker", "")
        full_name = worker.rpartition(".")[0]
        match event["event"]:
            case "worker.started":
                lifetimes[worker], active[worker] = 0, 0
                recycling.discard(full_name)
            case "session.started":
                named = choices(lifetimes, active, bool(recycling))
                assert (QUOTA - lifetimes[worker], active[worker]) in named, f"{event} with {lifetimes}, {active}"
                lifetimes[worker] += 1
                active[worker] += 1
                started += 1
            case "session.ended":
                active[worker] -= 1
            case "worker.draining":
                assert QUOTA - lifetimes.pop(worker) <= (EARLY if event["reason"] == "recycled early" else 0)
                recycling.add(full_name)
            case "worker.ended":
                assert active.pop(worker) == 0
    return started, sum(lifetimes.values())


def test_60_sessions_over_recycling_workers_all_succeed_and_age_their_workers_apart(
    start_grid: StartGrid, site: str
) -> None:
    grid = start_grid(
        CHROMIUM_WORKERS=WORKERS, MAX_LIFETIME_SESSIONS=QUOTA, STARTUP_STAGGER=STAGGER_S, QUEUE_TIMEOUT=60
    )
    asyncio.run(use(grid, site))
    events = grid.state.events(1000)
    started, of_the_last = replay(events)
    assert started == SESSIONS
    drained = [event["worker"] for event in events if event["event"] == "worker.draining"]
    assert len(drained) == len(set(drained)) >= (SESSIONS - of_the_last) / QUOTA
    launches = [float(event["at"]) / 1000 for event in events if event["event"] == "worker.launching"]
    assert len(launches) >= len(drained)
    assert min(later - earlier for earlier, later in itertools.pairwise(launches)) >= STAGGER_S
