"""`make bench-isolation`: sessions with a browser of their own beside sessions that share one, in turn."""

from __future__ import annotations

import asyncio
import statistics

import click

from tests.bench.__main__ import Figures, measure
from tests.support import site
from tests.support.appliance import Appliance

CONCURRENCY = 3
REST_S = 0.8  # until the reserve is full again, so that no session measures what another one has left to be done
SHARED, RESERVED, LAUNCHED = "shared", "own, from the reserve", "own, launched"


def report(figures: dict[str, Figures]) -> None:
    """Print medians, and ratios to those of shared browsers."""
    click.echo(f"{'median':28}" + "".join(f"{name:>24}{'ratio':>8}" for name in figures))
    for title, scale in (("connect", 1000), ("first_page", 1000), ("connect_busy", 1000), ("sessions_per_s", 1)):
        unit = "" if scale == 1 else ", ms"
        usual = statistics.median(getattr(figures[SHARED], title))
        medians = [statistics.median(getattr(one, title)) for one in figures.values()]
        row = "".join(f"{median * scale:24.1f}{median / usual:8.2f}" for median in medians)
        click.echo(f"{title.replace('_', ' ') + unit:28}{row}")


@click.command()
@click.option("--rounds", default=30, show_default=True, help="Sessions one at a time, each way.")
@click.option("--batches", default=4, show_default=True, help="Crowds, each way.")
@click.option("--size", default=30, show_default=True, help="Sessions of a crowd.")
def main(rounds: int, batches: int, size: int) -> None:
    """Measure on this machine, which should do nothing else meanwhile."""
    settings = {"MAX_LIFETIME_SESSIONS": 0, "SPARE_WORKERS": 0}
    with (
        site.serve() as url,
        Appliance(RESERVE_BROWSERS=1, **settings) as with_reserve,
        Appliance(RESERVE_BROWSERS=0, **settings) as without,
    ):
        own = "?isolation=browser"
        endpoints = {
            SHARED: without.endpoint,
            RESERVED: f"{with_reserve.endpoint}/{own}",
            LAUNCHED: f"{without.endpoint}/{own}",
        }
        click.echo(f"{rounds} sessions one at a time, then {batches} × {size}, {CONCURRENCY} at a time, in turn\n")
        report(asyncio.run(measure(endpoints, url, rounds, batches, size, CONCURRENCY, REST_S)))


if __name__ == "__main__":
    main()
