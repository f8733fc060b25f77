"""`python -m tests.bench.recycling`: what recycling costs, spare workers included.

Two appliances in turn, alike but for MAX_LIFETIME_SESSIONS: one recycles its workers, one never does. Two kinds
of sessions, several at a time:

- busy: one page of a site that answers at once. They keep all cores busy, so the CPU time that a recycled worker
  takes to end and to start again is taken from them. This is the worst case.
- waiting: two pages of a site that answers after a while, as most do. Cores are left, and the spare is there.

A worker reaches its quota in the middle of a batch, and a batch begins when the pool is whole, so that each batch
bears the cost of its own recycling and of no other. A session that fails ends the benchmark with its error.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer

import click
from playwright.async_api import Playwright, async_playwright

from tests.bench.__main__ import CONCURRENCY
from tests.support import site
from tests.support.appliance import Appliance
from tests.support.waiting import until

LATENCY_S = 0.25
WHOLE_WITHIN_S = 60.0


@dataclass(frozen=True)
class Kind:
    """A kind of sessions: how many pages each opens, of which site."""

    pages: int
    url: str


class LateHandler(site.Handler):
    """Serves the site as one that is far away or has work to do."""

    def _answer(self, body: bytes, content_type: str) -> None:
        time.sleep(LATENCY_S)
        super()._answer(body, content_type)


@contextmanager
def late_site() -> Iterator[str]:
    """Serve the site that answers late; returns its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), LateHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def wait_until_whole(grid: Appliance) -> None:
    """Wait until the worker and its spare are there, and none besides that still drains."""

    def is_whole() -> bool:
        return sorted(worker.status for worker in grid.state.workers()) == ["available", "standby"]

    until(is_whole, "the pool is whole", WHOLE_WITHIN_S)


async def session(playwright: Playwright, endpoint: str, kind: Kind) -> None:
    """Use one session."""
    browser = await playwright.chromium.connect(endpoint)
    page = await browser.new_page()
    for _ in range(kind.pages):
        await page.goto(kind.url)
        assert await page.title() == "A real page"
    await browser.close()


async def sessions(playwright: Playwright, grid: Appliance, kind: Kind, count: int) -> float:
    """Use sessions, CONCURRENCY at a time; returns the seconds that they took."""
    numbers = iter(range(count))

    async def client() -> None:
        for _ in numbers:
            await session(playwright, grid.endpoint, kind)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CONCURRENCY)))
    return time.perf_counter() - started


async def measure(
    grids: dict[str, Appliance], kind: Kind, quota: int, batches: int, size: int
) -> dict[str, list[float]]:
    """Measure batches on each appliance, in alternating order; returns the sessions per second of each."""
    rates: dict[str, list[float]] = {name: [] for name in grids}
    async with async_playwright() as playwright:
        for grid in grids.values():  # warm up, and reach the quota in the middle of batches
            await sessions(playwright, grid, kind, quota // 2)
        for number in range(batches):
            for name in sorted(grids, reverse=bool(number % 2)):
                wait_until_whole(grids[name])
                rates[name].append(size / await sessions(playwright, grids[name], kind, size))
                wait_until_whole(grids[name])  # lest the next batch bear what is left to do of this one
        for grid in grids.values():  # where the next kind is to begin
            await sessions(playwright, grid, kind, quota - quota // 2)
    return rates


def row(title: str, rates: dict[str, list[float]]) -> str:
    """Return one row of the report."""
    ratios = [a / b for a, b in zip(rates["recycling"], rates["never"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    medians = [statistics.median(rates[name]) for name in ("recycling", "never")]
    return f"{title:10}{medians[0]:12.2f}{medians[1]:12.2f}{f'{middle:.3f} ({low:.3f}–{high:.3f})':>26}"


@click.command()
@click.option("--quota", default=50, show_default=True, help="MAX_LIFETIME_SESSIONS of the one that recycles.")
@click.option("--batches", default=10, show_default=True, help="Batches of each kind on each appliance.")
@click.option("--kind", "wanted", multiple=True, default=("busy", "waiting"), show_default=True, help="Of sessions.")
@click.option("--size", default=100, show_default=True, help="Sessions of a batch; a multiple of the quota.")
def main(quota: int, batches: int, wanted: tuple[str, ...], size: int) -> None:
    """Measure the throughput of a pool that recycles its workers against one that never does."""
    with ExitStack() as stack:
        grids = {}
        for name, limit in (("recycling", quota), ("never", 0)):
            grids[name] = stack.enter_context(Appliance(SPARE_WORKERS=1, MAX_LIFETIME_SESSIONS=limit))
        kinds = {
            "busy": Kind(1, stack.enter_context(site.serve())),
            "waiting": Kind(2, stack.enter_context(late_site())),
        }
        click.echo(f"{batches} × {size} sessions each way, {CONCURRENCY} at a time, on 1 worker and 1 spare, in turn\n")
        click.echo(f"{'sessions/s':10}{'recycling':>12}{'never':>12}{'ratio (quartiles)':>26}")
        for title in wanted:
            click.echo(row(title, asyncio.run(measure(grids, kinds[title], quota, batches, size))))
        click.echo(f"\nmedians; a worker is recycled after {quota} sessions; no session failed")


if __name__ == "__main__":
    main()
