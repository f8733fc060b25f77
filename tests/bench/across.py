"""`make bench-door`: sessions on another appliance's worker, by its inner door, against those on an appliance's own.

Both have the same worker, browser and client, in turn; only the proxy that the client connects to is another one, so
that what is printed is the price of the second proxy. Each appliance is in a network namespace of its own.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from playwright.async_api import Playwright, async_playwright

from tests.support.certificates import Authority
from tests.support.cluster import Cluster, Member

MESSAGES = 30  # of each session
PAGE = "data:text/html,<title>A page</title>"  # which is not fetched: the network is not what is measured
# Those of a grid at work: the tests' own are quicker, and so cost more.
TIMINGS = {
    "HEARTBEAT_INTERVAL": 5,
    "WORKER_TTL": 15,
    "LEASE_RENEW_INTERVAL": 5,
    "LEASE_TTL": 15,
    "REAPER_RUN_INTERVAL": 5,
    "MAX_LIFETIME_SESSIONS": 0,
}


@dataclass
class Figures:
    """What was measured of one way; seconds."""

    connect: list[float] = field(default_factory=list)
    first_page: list[float] = field(default_factory=list)
    message: list[float] = field(default_factory=list)


async def session(playwright: Playwright, endpoint: str, figures: Figures) -> None:
    """Use one session."""
    started = time.perf_counter()
    browser = await playwright.chromium.connect(endpoint)
    figures.connect.append(time.perf_counter() - started)
    page = await browser.new_page()
    await page.goto(PAGE)
    figures.first_page.append(time.perf_counter() - started)
    for _ in range(MESSAGES):
        sent = time.perf_counter()
        await page.evaluate("1")
        figures.message.append(time.perf_counter() - sent)
    await browser.close()


async def measure(endpoints: dict[str, str], rounds: int) -> dict[str, Figures]:
    """Measure all ways in turn, in alternating order."""
    figures = {name: Figures() for name in endpoints}
    async with async_playwright() as playwright:
        for endpoint in endpoints.values():  # warm up
            for _ in range(5):
                await session(playwright, endpoint, Figures())
        for number in range(rounds):
            for name in sorted(endpoints, reverse=bool(number % 2)):
                await session(playwright, endpoints[name], figures[name])
    return figures


def report(figures: dict[str, Figures], rounds: int) -> None:
    """Print medians and their ratios."""
    local, across = figures["local"], figures["across"]
    click.echo(f"{rounds} sessions each way, one at a time, in turn\n")
    click.echo(f"{'median, ms':38}{'local':>10}{'across':>10}{'ratio':>8}")
    for title, one, other in (
        ("connect", local.connect, across.connect),
        ("time to first page", local.first_page, across.first_page),
        ("a message and its answer", local.message, across.message),
    ):
        a, b = statistics.median(one) * 1000, statistics.median(other) * 1000
        click.echo(f"{title:38}{a:10.2f}{b:10.2f}{b / a:8.3f}")


def endpoint_of(member: Member, scheme: str) -> str:
    """Return a member's endpoint."""
    return f"{scheme}://{member.host}:{member.port}"


@click.command()
@click.option("--rounds", default=60, show_default=True, help="Sessions each way.")
@click.option("--tls", is_flag=True, help="Serve TLS on all appliances, and so between them too.")
def main(rounds: int, tls: bool) -> None:
    """Measure what a session costs whose worker is another appliance's. Only root can make the namespaces."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        common: dict[str, Any] = dict(TIMINGS)
        if tls:
            authority = Authority(folder)
            hosts = [f"10.232.{os.getpid() % 250}.{number}" for number in (11, 12, 13)]
            served = authority.issue("server", *hosts)
            common |= {"TLS_CERT": served.certificate, "TLS_KEY": served.key}
            os.environ["NODE_EXTRA_CA_CERTS"] = str(authority.file)
        without_workers = {"CHROMIUM_WORKERS": 0}
        cluster = Cluster(stack, common, without_workers, {}, without_workers)
        _, with_worker, other = cluster.members
        scheme = "wss" if tls else "ws"
        endpoints = {"local": endpoint_of(with_worker, scheme), "across": endpoint_of(other, scheme)}
        report(asyncio.run(measure(endpoints, rounds)), rounds)


if __name__ == "__main__":
    main()
