"""`make bench-sizing`: the memory and the CPU time that workers and sessions of a real appliance take.

Memory is PSS: what processes share is divided among them. CPU time is that of the whole appliance, its ended
processes included, and not the clients'.
"""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import click
import psutil
from playwright.async_api import Browser, BrowserType, async_playwright

from tests.bench.__main__ import CONCURRENCY, crowd
from tests.support import site
from tests.support.appliance import Appliance

MIB = 1 << 20


class Processes:
    """The processes of an appliance, as the kernel counts them."""

    def __init__(self, grid: Appliance) -> None:
        """Find supervisord, which is the parent of all of them."""
        self._top = psutil.Process(int((grid.run_dir / "log" / "supervisord.pid").read_text()))

    def cpu_s(self) -> float:
        """Return the CPU time so far, in seconds, with that of processes that have ended."""
        while True:
            with suppress(psutil.NoSuchProcess):  # one has ended meanwhile: its time is its parent's now
                return sum(sum(process.cpu_times()[:4]) for process in [self._top, *self._top.children(recursive=True)])

    def memory(self) -> tuple[float, float]:
        """Return the memory of all workers with their browsers, and that of the other processes, in MiB."""
        workers = [process for process in self._top.children() if process.cmdline()[-2:] == ["-m", "workers"]]
        inside = {child for process in workers for child in [process, *process.children(recursive=True)]}
        others = {self._top, *self._top.children(recursive=True)} - inside
        one, other = (sum(process.memory_full_info().pss for process in group) / MIB for group in (inside, others))
        return one, other

    async def idle_cpu(self, seconds: float) -> float:
        """Return the share of a core that is used while nothing happens for some seconds."""
        before_s, began = self.cpu_s(), time.monotonic()
        await asyncio.sleep(seconds)
        return (self.cpu_s() - before_s) / (time.monotonic() - began)


async def held(chromium: BrowserType, endpoint: str, url: str) -> Browser:
    """Open a session with a page, and keep it."""
    browser = await chromium.connect(endpoint)
    page = await browser.new_page()
    await page.goto(url)
    return browser


async def measure(grid: Appliance, url: str, workers: int, counts: tuple[int, ...], idle_s: float, batch: int) -> None:
    """Hold more and more sessions, then use some one after another; print what they take."""
    processes = Processes(grid)
    async with async_playwright() as playwright:
        await crowd(playwright, grid.endpoint, url, 10 * workers)  # warm up
        await processes.idle_cpu(idle_s)  # until what the warm-up left has ended
        base_cpu = await processes.idle_cpu(idle_s)
        base, rest = processes.memory()
        click.echo(f"without sessions: each worker {base / workers:.0f} MiB, the other processes {rest:.0f} MiB,")
        click.echo(f"{base_cpu * 100:.1f} % of a core for {workers} workers\n")
        click.echo(f"{'sessions':>8}{'all workers, MiB':>18}{'MiB a session':>15}{'CPU of one, idle':>18}")
        sessions: list[Browser] = []
        for count in sorted(counts):
            sessions += [await held(playwright.chromium, grid.endpoint, url) for _ in range(count - len(sessions))]
            cpu = await processes.idle_cpu(idle_s) - base_cpu
            memory = processes.memory()[0]
            click.echo(f"{count:8}{memory:18.0f}{(memory - base) / count:15.1f}{cpu / count * 100:16.2f} %")
        for session in sessions:
            await session.close()
        before_s = processes.cpu_s()
        rate = (await crowd(playwright, grid.endpoint, url, batch))[1]
        each_s = (processes.cpu_s() - before_s) / batch
    click.echo(f"\n{batch} short sessions, {CONCURRENCY} at a time: {each_s * 1000:.0f} ms of CPU each,")
    click.echo(f"so {1 / each_s:.1f} sessions/s per core; {rate:.1f} sessions/s here, beside their clients")


@click.command()
@click.option("--workers", default=2, show_default=True, help="Workers.")
@click.option("--sessions", multiple=True, default=(1, 5, 10, 20), show_default=True, help="Sessions to hold.")
@click.option("--url", default=None, help="Page of each session.  [default: a small one]")
@click.option("--idle", default=10.0, show_default=True, help="Seconds for which idle CPU is measured.")
@click.option("--batch", default=200, show_default=True, help="Short sessions for sessions/s.")
def main(workers: int, sessions: tuple[int, ...], url: str | None, idle: float, batch: int) -> None:
    """Measure what sessions take of memory and CPU."""
    load, cores = os.getloadavg()[0], os.cpu_count()
    click.echo(f"{workers} workers on {cores} cores; load before: {load:.1f}")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="grid-"))
        at_a_time = max(CONCURRENCY, math.ceil(max(sessions) / workers))
        grid = Appliance(folder, CHROMIUM_WORKERS=workers, MAX_LIFETIME_SESSIONS=0, MAX_CONCURRENT_SESSIONS=at_a_time,
                    HEARTBEAT_INTERVAL=5, WORKER_TTL=15, LEASE_RENEW_INTERVAL=5, LEASE_TTL=15,
                    REAPER_RUN_INTERVAL=5)  # fmt: skip
        stack.callback(grid.stop)
        url = url or stack.enter_context(site.serve())
        asyncio.run(measure(grid, url, workers, sessions, idle, batch))


if __name__ == "__main__":
    main()
