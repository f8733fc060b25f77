"""`make bench-versions`: the first session of a version never seen, the next ones from the folder, and warm ones.

The clients are raw ones, which name the version that they are of: what is measured is the grid. Warm sessions of the
version and of the appliance's own are measured in turn.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from appliance.machine import drivers
from appliance.settings.config import Settings
from tests.support import site
from tests.support.appliance import Appliance
from tests.support.raw_client import OWN, RawClient
from tests.support.versions import OTHER_MINORS
from tests.support.waiting import until

IDLE_S = 1
PATIENCE_S = 120


@dataclass
class Figures:
    """What was measured of the sessions of one kind; seconds."""

    connect: list[float] = field(default_factory=list)
    first_page: list[float] = field(default_factory=list)

    def use(self, grid: Appliance, url: str, version: str) -> None:
        """Use one session."""
        started = time.perf_counter()
        with RawClient(grid, version=version) as client:
            self.connect.append(time.perf_counter() - started)
            client.call(client.context(), "newPage")
            answer = client.call(client.guid("Frame"), "goto", url=url)
            assert "error" not in answer, answer
            self.first_page.append(time.perf_counter() - started)
        until(lambda: not grid.state.sessions(), "the session has ended", PATIENCE_S)


@contextmanager
def started(folder: Path, idle_s: int) -> Iterator[Appliance]:
    """Run an appliance that gets drivers on demand and puts them into a folder."""
    settings = {"MAX_LIFETIME_SESSIONS": 0, "DRIVERS": "auto", "DRIVERS_DIR": folder, "QUEUE_TIMEOUT": PATIENCE_S}
    with Appliance(POOL_IDLE_TIMEOUT=idle_s, **settings) as grid:
        yield grid


def measure_cold(folder: Path, url: str, version: str, unseen: int, rounds: int) -> tuple[Figures, Figures]:
    """Measure first sessions: of a version whose driver is not there, and of one whose pool has ended."""
    never_seen, from_folder = Figures(), Figures()
    with started(folder, IDLE_S) as grid:

        def has_ended() -> bool:
            return len(grid.state.workers()) == 1 and "chromium-01" not in grid.applctl("status").stdout

        for number in range(unseen + rounds):
            if number < unseen:
                for driver in drivers.added(Settings(drivers_dir=folder)):
                    shutil.rmtree(driver.folder)
            (never_seen if number < unseen else from_folder).use(grid, url, version)
            until(has_ended, "the pool has ended", PATIENCE_S)
    return never_seen, from_folder


def measure_warm(folder: Path, url: str, version: str, rounds: int) -> tuple[Figures, Figures]:
    """Measure sessions of the appliance's own version and of another one, in turn, on workers that are there."""
    own, other = Figures(), Figures()
    with started(folder, 0) as grid:
        for figures, one in ((Figures(), OWN), (Figures(), version)):  # the first of each is not warm
            figures.use(grid, url, one)
        for _ in range(rounds):
            own.use(grid, url, OWN)
            other.use(grid, url, version)
    return own, other


@click.command()
@click.option("--minor", default=OTHER_MINORS[-1], show_default=True, help="The version that nobody serves.")
@click.option("--unseen", default=3, show_default=True, help="First sessions of a version never seen.")
@click.option("--rounds", default=10, show_default=True, help="First sessions from the folder.")
@click.option("--warm", default=30, show_default=True, help="Warm sessions, each way.")
def main(minor: str, unseen: int, rounds: int, warm: int) -> None:
    """Measure on this machine, which should do nothing else meanwhile. A package index must be within reach."""
    with tempfile.TemporaryDirectory() as folder, site.serve() as url:
        never_seen, from_folder = measure_cold(Path(folder), url, f"{minor}.0", unseen, rounds)
        own, other = measure_warm(Path(folder), url, f"{minor}.0", warm)
    rows = {"warm, own version": own, f"warm, {minor}": other, "from the folder": from_folder, "never seen": never_seen}
    click.echo(f"{'median':20}{'sessions':>10}{'connect, ms':>14}{'ratio':>8}{'first page, ms':>17}{'ratio':>8}")
    for name, figures in rows.items():
        cells = ""
        for title, width in (("connect", 14), ("first_page", 17)):
            median, usual = (statistics.median(getattr(one, title)) for one in (figures, own))
            cells += f"{median * 1000:{width}.1f}{median / usual:8.2f}"
        click.echo(f"{name:20}{len(figures.connect):10}{cells}")


if __name__ == "__main__":
    main()
