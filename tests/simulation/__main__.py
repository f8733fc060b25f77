"""`python -m tests.simulation`: how much of a pool's capacity the policy of selection and recycling keeps.

The real Lua library on a simulated clock, over pools, loads, quotas and session lengths. Of each case is said
how many of its workers were available at the worst moment, and whether a policy could have kept (N-1)/N.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from tests.simulation import report
from tests.simulation.case import Case
from tests.simulation.grid import VALUES, cases
from tests.simulation.result import Result
from tests.simulation.runner import simulate

SAY_EVERY_S = 20.0
LEGEND = """
N workers that serve, S spares, c concurrent sessions of a worker, Q quota, length of a session in seconds
can be   a policy could keep (N-1)/N: recycling demand at most 0.7 of what N-1 workers can bear, and its bursts too
worst    smallest share of the workers that was available at any moment
below    share of the time in which more than one worker was missing
demand   workers that are away at once on average, whatever the policy: sessions/s / quota x a worker's absence
least    the same, if each session had a worker as much to itself as the load allows
used     share of its quota that a recycled worker had served
shared   sessions that a new one found on its worker
viol.    workers drained by quota while another drained and a third could have taken the session
*        the run saw less than two generations of workers
"""


@click.command()
@click.option("--workers", multiple=True, type=click.IntRange(1), help="N: those that serve, on all appliances.")
@click.option("--concurrency", multiple=True, type=click.IntRange(1), help="c: sessions of a worker at once.")
@click.option("--quota", multiple=True, type=click.IntRange(1), help="Q: sessions of a worker in all.")
@click.option("--length", "length_s", multiple=True, type=float, help="Mean seconds of a session.")
@click.option("--load", multiple=True, type=click.FloatRange(0, 1, min_open=True),
              help="Share of the slots; 1: a client per slot that never pauses.")  # fmt: skip
@click.option("--spares", multiple=True, type=click.IntRange(0), help="S: on each appliance.")
@click.option("--appliances", default=1, show_default=True, help="Over which the workers are spread.")
@click.option("--fixed", is_flag=True, help="Sessions all have the same length, instead of an exponential one.")
@click.option("--launch", "launch_s", default=1.0, show_default=True, help="Seconds.")
@click.option("--respawn", "respawn_s", default=1.0, show_default=True, help="Seconds.")
@click.option("--stagger", "stagger_s", default=0.5, show_default=True, help="Seconds between launches.")
@click.option("--heartbeat", "heartbeat_s", default=0.0, help="Seconds.  [5, or longer if a run is long]")
@click.option("--generations", default=3.0, show_default=True, help="How often to use up the quotas of all workers.")
@click.option("--sessions", default=0, help="Instead of generations.")
@click.option("--seed", default=1, show_default=True)
@click.option("--largest", default=10**6, help="Leave out cases of more sessions.")
@click.option("--cases", "most", default=150, show_default=True, help="Sample so many, if there are more.")
@click.option("--processes", default=2 * (os.cpu_count() or 1), show_default=True, help="Each with a Redis server.")
@click.option("--list", "listed", default=25, show_default=True, help="Failed cases to print.")
@click.option("--csv", "path", type=click.Path(path_type=Path), help="File for all figures of all cases.")
def main(largest: int, most: int, seed: int, processes: int, listed: int, path: Path | None, **options: Any) -> None:
    """Simulate pools, and say where capacity was lost that could have been kept."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the Redis servers end, too
    values = {name: options.pop(name) for name in VALUES}
    chosen = cases(values, most, largest, seed=seed, **options)
    results = in_order(chosen, processes)
    click.echo(f"{LEGEND}\n{report.summary(results)}\n\nNot held where it can be:\n{report.failures(results, listed)}")
    if len(results) <= listed:
        click.echo("\nAll cases:\n" + report.table(results))
    if path:
        report.write_csv(path, results)


def in_order(chosen: list[Case], processes: int) -> list[Result]:
    """Run all cases, and say now and then how far it is; returns the results in the cases' order."""
    began = said = time.perf_counter()
    results: dict[Case, Result] = {}
    for result in simulate(chosen, processes):
        results[result.case] = result
        now = time.perf_counter()
        if now > said + SAY_EVERY_S or len(results) == len(chosen):
            said = now
            click.echo(f"{len(results)} of {len(chosen)} cases, {now - began:.0f} s", err=True)
    return [results[case] for case in chosen]


if __name__ == "__main__":
    main()
