"""`python -m tests.bench.scale`: what a grid of 10,000 workers asks of its one Redis, and how it bears losses.

What stands for Redis is its CPU time, user and system, by its own account: the simulators take more than it does,
and on a small machine what they leave of the cores would be measured instead. Latencies are of the machine as it
is, simulators included: on a grid's own Redis host they are shorter.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from appliance import logs
from appliance.grid.token_table import digest_of
from tests.bench.claims import handovers_ms
from tests.bench.scale import report
from tests.bench.scale.costs import Costs
from tests.bench.scale.fleet import Fleet
from tests.bench.scale.phases import Phases
from tests.bench.scale.plan import TOKEN, Plan
from tests.bench.scale.probe import Probe
from tests.bench.scale.server import Server


@click.command()
@click.option("--appliances", default=200, show_default=True)
@click.option("--workers", default=50, show_default=True, help="On each appliance, one of them a spare.")
@click.option("--rate", "rates", multiple=True, default=(0.0, 100.0, 300.0, 500.0), show_default=True,
              help="Sessions that start in a second, on the whole grid.")  # fmt: skip
@click.option("--session", "session_s", default=10.0, show_default=True, help="Mean seconds of a session.")
@click.option("--seconds", default=15.0, show_default=True, help="That each rate is measured.")
@click.option("--loss-rate", default=100.0, show_default=True, help="Sessions per second while something is lost.")
@click.option("--processes", default=2, show_default=True, help="Of simulators.")
@click.option("--stagger", "stagger_s", default=0.5, show_default=True, help="STARTUP_STAGGER.")
@click.option("--costs/--no-costs", default=True, show_default=True, help="Measure each kind of call by itself.")
def main(rates: tuple[float, ...], seconds: float, loss_rate: float, costs: bool, **grid: float) -> None:
    """Measure a large grid on one Redis."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the Redis server ends, too
    logs.configure("ERROR", "text")
    with tempfile.TemporaryDirectory(prefix="scale-") as folder, ExitStack() as stack:
        server = Server(Path(folder))
        server.start()
        stack.callback(server.kill)
        plan = Plan(server.url, folder, **grid)  # type: ignore[arg-type]  # the options are called as its fields
        if costs:
            sizes = plan.all_workers // 10, plan.all_workers
            click.echo(report.costs({size: Costs(server, plan, size).table() for size in sizes}))
            server.kill()
            server.start()
        probe = Probe(plan)
        stack.callback(probe.close)
        probe.grid.create_token(digest_of(TOKEN), "bench")
        fleet = stack.enter_context(Fleet(plan))
        phases = Phases(plan, server, fleet, probe)
        click.echo(f"\n{plan.all_workers} workers on {plan.appliances} appliances: up in {phases.start():.0f} s")
        run(phases, probe, rates, seconds, loss_rate)


def run(phases: Phases, probe: Probe, rates: tuple[float, ...], seconds: float, loss_rate: float) -> None:
    """Go through the phases, and say of each what was measured."""
    click.echo(report.HEAD)
    loads = []
    for rate in rates:
        loads.append(phases.load(rate, seconds))
        click.echo(report.load(loads[-1]))
    click.echo(report.limit(loads))
    click.echo(report.handover(handovers_ms(probe.grid, 200)))
    phases.load(loss_rate, 1)
    click.echo(report.lost_appliance(*phases.lose_appliance()))
    click.echo(report.recovery(phases.lose_redis()))


if __name__ == "__main__":
    main()
