"""`make bench`: the grid against a direct connection to a driver's `launch-server`.

Both run in the same minutes, in turn, with the same browser, arguments and client, and what is printed
are medians and their ratios: a machine's noise falls on both.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
from playwright.async_api import Playwright, async_playwright

from appliance.machine import browsers
from appliance.run_dir import RunDir
from appliance.settings import config
from tests.support import site
from tests.support.appliance import Appliance
from tests.support.waiting import until

CONCURRENCY = 5


@dataclass
class Figures:
    """What was measured of one of the ways; seconds."""

    connect: list[float] = field(default_factory=list)
    first_page: list[float] = field(default_factory=list)
    connect_busy: list[float] = field(default_factory=list)
    sessions_per_s: list[float] = field(default_factory=list)


async def session(playwright: Playwright, endpoint: str, url: str) -> tuple[float, float]:
    """Use one session; returns the seconds to its connection and to its first page."""
    started = time.perf_counter()
    browser = await playwright.chromium.connect(endpoint)
    connected = time.perf_counter()
    page = await browser.new_page()
    await page.goto(url)
    shown = time.perf_counter()
    await browser.close()
    return connected - started, shown - started


async def crowd(
    playwright: Playwright, endpoint: str, url: str, sessions: int, concurrency: int = CONCURRENCY
) -> tuple[list[float], float]:
    """Use sessions, so many at a time; returns the seconds of each connect, and sessions per second."""
    numbers, connects = iter(range(sessions)), []

    async def client() -> None:
        for _ in numbers:
            connects.append((await session(playwright, endpoint, url))[0])

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(concurrency)))
    return connects, sessions / (time.perf_counter() - started)


@contextmanager
def direct(grid: Appliance) -> Iterator[str]:
    """Start a driver's `launch-server` with the very configuration of the grid's worker; returns its endpoint."""
    workspace = next(RunDir(grid.run_dir).workers.glob("*/*/"))
    driver = browsers.driver_folder(config.load())
    with tempfile.TemporaryDirectory() as folder:
        configuration = json.loads((workspace / "launch.json").read_text()) | {"port": 0}
        (Path(folder) / "config.json").write_text(json.dumps(configuration))
        output = Path(folder) / "output"
        command = [driver / "node", driver / "package" / "cli.js", "launch-server", "--browser", "chromium"]
        with output.open("w") as out:
            server = subprocess.Popen(
                [*command, "--config", Path(folder) / "config.json"],
                stdout=out,
                env=os.environ | {"TMPDIR": folder},
                process_group=0,
            )
        try:
            yield until(lambda: output.read_text().strip(), "the driver listens", within_s=30)
        finally:
            server.terminate()
            server.terminate()  # a driver with a browser wants to be told twice
            server.wait(10)


async def measure(
    endpoints: dict[str, str],
    url: str,
    rounds: int,
    batches: int,
    size: int,
    concurrency: int = CONCURRENCY,
    rest_s: float = 0,
) -> dict[str, Figures]:
    """Measure all ways in turn, in alternating order.

    A rest before each session and each batch lets the grid end what the one before has left it to do.
    """
    figures = {name: Figures() for name in endpoints}
    async with async_playwright() as playwright:
        for endpoint in endpoints.values():  # warm up
            await crowd(playwright, endpoint, url, 10, concurrency)
        for number in range(rounds):
            for name in sorted(endpoints, reverse=bool(number % 2)):
                await asyncio.sleep(rest_s)
                connect, page = await session(playwright, endpoints[name], url)
                figures[name].connect.append(connect)
                figures[name].first_page.append(page)
        for number in range(batches):
            for name in sorted(endpoints, reverse=bool(number % 2)):
                await asyncio.sleep(rest_s)
                connects, rate = await crowd(playwright, endpoints[name], url, size, concurrency)
                figures[name].connect_busy += connects
                figures[name].sessions_per_s.append(rate)
    return figures


def report(figures: dict[str, Figures], rounds: int, batches: int, size: int) -> None:
    """Print medians, ratios and the slowest connect."""
    direct, grid = figures["direct"], figures["grid"]
    click.echo(f"{rounds} sessions one at a time, then {batches} × {size} sessions {CONCURRENCY} at a time, in turn\n")
    click.echo(f"{'median':38}{'direct':>10}{'grid':>10}{'ratio':>8}")
    for title, one, other, scale in (
        ("connect, ms", direct.connect, grid.connect, 1000),
        ("time to first page, ms", direct.first_page, grid.first_page, 1000),
        (f"connect, {CONCURRENCY} at a time, ms", direct.connect_busy, grid.connect_busy, 1000),
        (f"sessions per second, {CONCURRENCY} at a time", direct.sessions_per_s, grid.sessions_per_s, 1),
    ):
        a, b = statistics.median(one) * scale, statistics.median(other) * scale
        click.echo(f"{title:38}{a:10.2f}{b:10.2f}{b / a:8.3f}")
    slowest = [max(each.connect_busy) * 1000 for each in (direct, grid)]
    click.echo(f"{f'slowest connect, {CONCURRENCY} at a time, ms':38}{slowest[0]:10.2f}{slowest[1]:10.2f}")


@click.command()
@click.option("--rounds", default=60, show_default=True, help="Sessions one at a time, each way.")
@click.option("--batches", default=10, show_default=True, help="Batches of concurrent sessions, each way.")
@click.option("--size", default=40, show_default=True, help="Sessions of a batch.")
def main(rounds: int, batches: int, size: int) -> None:
    """Measure a session's cost through the grid and straight to a driver, alternating in one run."""
    with ExitStack() as stack:
        settings = dict.fromkeys(("HEARTBEAT_INTERVAL", "LEASE_RENEW_INTERVAL", "REAPER_RUN_INTERVAL"), 5)
        settings |= {"WORKER_TTL": 15, "LEASE_TTL": 15, "MAX_LIFETIME_SESSIONS": 0}
        grid = stack.enter_context(Appliance(MAX_CONCURRENT_SESSIONS=CONCURRENCY, **settings))
        endpoints = {"direct": stack.enter_context(direct(grid)), "grid": grid.endpoint}
        url = stack.enter_context(site.serve())
        report(asyncio.run(measure(endpoints, url, rounds, batches, size)), rounds, batches, size)


if __name__ == "__main__":
    main()
