"""`python -m tests.bench.recycling`: what recycling costs, spare workers included.

Two appliances in turn, alike but for MAX_LIFETIME_SESSIONS: one recycles its workers, one never does.
A session that fails ends the benchmark with its error.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
from playwright.async_api import async_playwright

from tests.bench.__main__ import CONCURRENCY, crowd
from tests.system import site
from tests.system.grid import Grid


async def measure(endpoints: dict[str, str], url: str, batches: int, size: int) -> dict[str, list[float]]:
    """Run batches of sessions on each appliance, in alternating order; gives the sessions per second of each."""
    rates: dict[str, list[float]] = {name: [] for name in endpoints}
    async with async_playwright() as playwright:
        for endpoint in endpoints.values():  # warm up
            await crowd(playwright, endpoint, url, 5)
        for number in range(batches):
            for name in sorted(endpoints, reverse=bool(number % 2)):
                rates[name].append((await crowd(playwright, endpoints[name], url, size))[1])
    return rates


@click.command()
@click.option("--quota", default=50, show_default=True, help="MAX_LIFETIME_SESSIONS of the one that recycles.")
@click.option("--batches", default=10, show_default=True, help="Batches on each appliance.")
@click.option("--size", default=100, show_default=True, help="Sessions of a batch.")
def main(quota: int, batches: int, size: int) -> None:
    """Measure the throughput of a pool that recycles its workers against one that never does."""
    with ExitStack() as stack:
        grids = {}
        for name, limit in (("recycling", quota), ("never", 0)):
            grids[name] = Grid(Path(tempfile.mkdtemp(prefix="grid-")), SPARE_WORKERS=1, MAX_LIFETIME_SESSIONS=limit)
            stack.callback(grids[name].stop)
        url = stack.enter_context(site.serve())
        rates = asyncio.run(measure({name: grid.endpoint for name, grid in grids.items()}, url, batches, size))
        recycled = sum(e["event"] == "worker.ended" for e in grids["recycling"].registry.events(10_000))
        click.echo(f"{batches} × {size} sessions, {CONCURRENCY} at a time, on 1 worker and 1 spare, in turn; 0 failed")
        for name, values in rates.items():
            click.echo(f"{name:10}{statistics.median(values):8.2f} sessions/s (median)")
        ratios = [a / b for a, b in zip(rates["recycling"], rates["never"], strict=True)]
        click.echo(f"ratio     {statistics.median(ratios):8.3f} (median of the pairs'), {recycled} workers recycled")


if __name__ == "__main__":
    main()
