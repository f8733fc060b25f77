"""`python -m tests.bench.packing`: what it costs a session that others work in the same browser.

Real drivers, started as a worker starts them, and real clients, each in a process of its own. Sessions in
the background are either all in the browser of the session that is measured, or spread over all browsers;
the two ways alternate, so that a machine's noise falls on both. Compared is the time to the first page
(connect, new page, goto, title), what the background gets done meanwhile, and the CPU time of drivers and
browsers.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import click
import psutil
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from appliance.machine import browsers
from appliance.names import Browser as BrowserType
from appliance.run_dir import RunDir
from appliance.settings import config
from tests.support import site
from tests.support.relay import bridged
from tests.support.waiting import until
from workers import workspace
from workers.driver import Driver, launch_command, launch_environment
from workers.orders import Orders

# Script that lays out and paints, which keeps a renderer busy, and then a picture, for which the browser works.
WORK = """() => {
  const rows = Array.from({length: 1500}, (_, row) => `<div style="float: left; padding: 2px">row ${row}</div>`);
  document.body.innerHTML = rows.join('');
  const end = performance.now() + 20;
  while (performance.now() < end) document.body.offsetHeight;
}"""

# What a session in the background does again and again: the seconds in which it does nothing, and if it works hard.
LOADS = {"idle": (None, False), "light": (0.3, False), "heavy": (0.0, True)}


@dataclass
class Figures:
    """What was measured of one way to place sessions; each block of measured sessions gives one CPU figure."""

    first_page_s: list[list[float]] = field(default_factory=list)  # block by block
    rounds_per_s: list[float] = field(default_factory=list)  # of each session in the background
    cpu_s: list[float] = field(default_factory=list)  # of drivers and browsers, for a session or a background's round


@dataclass(frozen=True)
class Started:
    """A driver that runs, and the URL that leads to it."""

    pid: int
    endpoint: str


def first_page(playwright: Playwright, endpoint: str, url: str) -> float:
    """Use one session; returns the seconds to its first page."""
    started = time.perf_counter()
    browser = playwright.chromium.connect(endpoint)
    page = browser.new_page()
    page.goto(url)
    assert page.title() == "A real page"
    shown = time.perf_counter()
    browser.close()
    return shown - started


def work(page: Page, url: str, hard: bool) -> None:
    """Do one round of what a session in the background does."""
    page.goto(url)
    if hard:
        page.evaluate(WORK)
        page.screenshot()
    page.title()


def background(commands: Connection, url: str) -> None:
    """Be a client: take an endpoint and a load, work there until the next message, answer with the rounds done."""
    with sync_playwright() as playwright:
        while command := commands.recv():
            endpoint, load = command
            pause_s, hard = LOADS[load]
            browser: Browser = playwright.chromium.connect(endpoint)
            page, rounds = browser.new_page(), 0
            work(page, url, hard)
            commands.send("works")
            while not commands.poll(pause_s):
                work(page, url, hard)
                rounds += 1
            if commands.recv() is None:
                return
            browser.close()
            commands.send(rounds)


@contextmanager
def clients(count: int, url: str) -> Iterator[list[Connection]]:
    """Start clients for the background; returns what each is told and answers by."""
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=background, args=(theirs, url), daemon=True) for _, theirs in pairs]
    for process in processes:
        process.start()
    ours = [mine for mine, _ in pairs]
    try:
        yield ours
    finally:
        for mine in ours:
            mine.send(None)
        for process in processes:
            process.join()


@contextmanager
def driver(folder: Path, number: int) -> Iterator[Started]:
    """Start a driver with its browser, as a worker does."""
    settings = config.load(worker_name=f"chromium-{number:02}")
    own = workspace.create(RunDir(folder).workers_of(settings.worker_name))
    command = launch_command(settings, browsers.find(BrowserType.CHROMIUM, settings), own)
    started = Driver(command, launch_environment(settings, own), own, Orders(settings.worker_name))
    try:
        until(lambda: started.is_up or started.has_ended, "the driver listens", within_s=30)
        with bridged(started.socket) as endpoint:
            yield Started(started.process.pid, endpoint)
    finally:
        started.stop()
        own.clear(family=False)


def cpu_s(drivers: list[Started]) -> float:
    """Return the CPU time of drivers and browsers so far, in seconds; that of their ended processes counts as well."""
    processes = [psutil.Process(each.pid) for each in drivers]
    processes += [child for process in processes for child in process.children(recursive=True)]
    return sum(_spent_s(process) for process in processes)


def _spent_s(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:4])  # user and system, its own and that of the children it has waited for
    except psutil.NoSuchProcess:  # ended since it was listed
        return 0.0


class Bench:
    """The drivers, and the clients of the background."""

    def __init__(self, playwright: Playwright, drivers: list[Started], waiting: list[Connection], url: str) -> None:
        """Use what is running."""
        self._playwright = playwright
        self._drivers = drivers
        self._clients = waiting
        self._url = url

    def warm_up(self) -> None:
        """Let each browser have had a few sessions."""
        for each in self._drivers:
            for _ in range(3):
                first_page(self._playwright, each.endpoint, self._url)

    def block(self, figures: Figures, others: int, load: str, spread: bool, sessions: int) -> None:
        """Measure some sessions in the first browser, while others work in it or, if spread, in all."""
        at_work = self._clients[:others]
        for number, client in enumerate(at_work, start=1):
            client.send((self._drivers[number % len(self._drivers) if spread else 0].endpoint, load))
        for client in at_work:
            client.recv()
        before_s, began = cpu_s(self._drivers), time.perf_counter()
        endpoint = self._drivers[0].endpoint
        figures.first_page_s.append([first_page(self._playwright, endpoint, self._url) for _ in range(sessions)])
        for client in at_work:
            client.send("stop")
        taken_s = time.perf_counter() - began
        rounds = [client.recv() for client in at_work]
        figures.rounds_per_s += [each / taken_s for each in rounds]
        figures.cpu_s.append((cpu_s(self._drivers) - before_s) / (sessions + sum(rounds)))

    def compare(self, others: int, load: str, rounds: int, sessions: int) -> dict[str, Figures]:
        """Measure both ways in turn."""
        figures = {"packed": Figures(), "spread": Figures()}
        for number in range(rounds):
            for name in sorted(figures, reverse=bool(number % 2)):
                self.block(figures[name], others, load, name == "spread", sessions)
        return figures


HEADER = (
    f"{'':15}{'first page, ms: median (quartiles), medians of the pairs':>58}{'rounds/s of each':>20}{'CPU, ms':>15}\n"
    f"{'others':8}{'in all':>7}{'packed':>19}{'spread':>19}{'added':>10}{'ratio':>9}"
    f"{'packed':>11}{'spread':>9}{'packed':>8}{'spread':>7}"
)


def row(load: str, sessions: int, figures: dict[str, Figures]) -> str:
    """Return one row of the report."""
    packed, spread = figures["packed"], figures["spread"]
    blocks = [
        (statistics.median(one), statistics.median(other))
        for one, other in zip(packed.first_page_s, spread.first_page_s, strict=True)
    ]
    added_ms = statistics.median((one - other) * 1000 for one, other in blocks)
    ratio = statistics.median(one / other for one, other in blocks)
    rates = [f"{statistics.median(each.rounds_per_s or [0]):9.2f}" for each in (packed, spread)]
    cpus = [f"{statistics.median(each.cpu_s) * 1000:7.1f}" for each in (packed, spread)]
    compared = f"{spans(packed)}{spans(spread)}{added_ms:10.1f}{ratio:9.3f}"
    return f"{load:8}{sessions:7}{compared}  {''.join(rates)} {''.join(cpus)}"


def spans(figures: Figures) -> str:
    """Return the median and the quartiles of the times to the first page, in milliseconds."""
    times = [value * 1000 for block in figures.first_page_s for value in block]
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{f'{middle:.0f} ({low:.0f}–{high:.0f})':>19}"


@click.command()
@click.option("--workers", default=5, show_default=True, help="Browsers.")
@click.option("--together", multiple=True, default=(1, 2, 3, 5), show_default=True, help="Sessions at a time in all.")
@click.option("--load", multiple=True, type=click.Choice([*LOADS]), default=[*LOADS], show_default=True,
              help="What the sessions in the background do.")  # fmt: skip
@click.option("--rounds", default=15, show_default=True, help="Blocks of sessions, each way.")
@click.option("--sessions", default=5, show_default=True, help="Measured sessions of a block.")
def main(workers: int, together: tuple[int, ...], load: tuple[str, ...], rounds: int, sessions: int) -> None:
    """Measure packing sessions into one browser against spreading them over all, in turn."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="packing-")))
        url = stack.enter_context(site.serve())
        drivers = [stack.enter_context(driver(folder, number)) for number in range(workers)]
        waiting = stack.enter_context(clients(max(together) - 1, url))
        bench = Bench(stack.enter_context(sync_playwright()), drivers, waiting, url)
        bench.warm_up()
        click.echo(f"{workers} browsers; {rounds} × {sessions} sessions each way, in turn\n\n{HEADER}")
        for name in load:
            for count in together:
                click.echo(row(name, count, bench.compare(count - 1, name, rounds, sessions)))


if __name__ == "__main__":
    main()
