"""Workers are recycled beneath their clients, one after another."""

from __future__ import annotations

import asyncio
import itertools

from playwright.async_api import async_playwright

from tests.system.conftest import StartGrid
from tests.system.grid import Grid

WORKERS, QUOTA, CLIENTS, SESSIONS = 2, 5, 4, 60
STAGGER_S = 0.5


async def use(grid: Grid, site: str) -> None:
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


def choose(lifetimes: dict[str, int], active: dict[str, int], is_recycling: bool) -> tuple[int, int]:
    """Give the rank that the rule of selection demands: spared, beyond the margin, remaining, active."""
    margin = max(1, QUOTA // len(lifetimes))
    ranks = [
        (is_recycling and lifetime == QUOTA - 1, QUOTA - lifetime <= margin, QUOTA - lifetime, active[worker])
        for worker, lifetime in lifetimes.items()
    ]
    return min(ranks)[2:]


def replay(events: list[dict[str, str]]) -> int:
    """Follow the grid's events and check each choice against the rule. Gives the number of sessions."""
    lifetimes: dict[str, int] = {}  # of the available workers
    active: dict[str, int] = {}
    recycling: set[str] = set()  # the slots whose workers drain, or are to come back
    started = 0
    for event in events:
        worker = event.get("worker", "")
        slot = worker.rpartition(".")[0]
        match event["event"]:
            case "worker.started":
                lifetimes[worker], active[worker] = 0, 0
                recycling.discard(slot)
            case "session.started":
                demanded = choose(lifetimes, active, bool(recycling))
                assert (QUOTA - lifetimes[worker], active[worker]) == demanded, f"{event} with {lifetimes}, {active}"
                lifetimes[worker] += 1
                active[worker] += 1
                started += 1
            case "session.ended":
                active[worker] -= 1
            case "worker.draining":
                assert lifetimes.pop(worker) == QUOTA
                recycling.add(slot)
            case "worker.ended":
                assert active.pop(worker) == 0
    return started


def test_60_sessions_over_recycling_workers_all_succeed_and_age_their_workers_apart(
    start_grid: StartGrid, site: str
) -> None:
    grid = start_grid(
        CHROMIUM_WORKERS=WORKERS, MAX_LIFETIME_SESSIONS=QUOTA, STARTUP_STAGGER=STAGGER_S, QUEUE_TIMEOUT=60
    )
    asyncio.run(use(grid, site))
    events = grid.registry.events(1000)
    assert replay(events) == SESSIONS
    drained = [event["worker"] for event in events if event["event"] == "worker.draining"]
    assert len(drained) == len(set(drained)) == SESSIONS // QUOTA
    launches = [float(event["at"]) / 1000 for event in events if event["event"] == "worker.launching"]
    assert len(launches) >= SESSIONS // QUOTA
    assert min(later - earlier for earlier, later in itertools.pairwise(launches)) >= STAGGER_S
