"""`make chaos`: let everything fail at random, under load, and see that nothing is lost for good.

The plan of the faults depends on the seed alone; what each hits is told behind it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from fnmatch import fnmatch

import click

from tests.chaos.kinds import possible
from tests.chaos.plan import plan
from tests.chaos.run import run


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="Of faults; by whole rounds, at least one.")
@click.option("--seed", type=int, help="Seed of the plan. Default: a fresh one, which is printed.")
@click.option("--clients", default=5, show_default=True, help="Clients that have one session after another.")
@click.option("--workers", default=2, show_default=True, help="Workers of each appliance, beside a spare one.")
@click.option(
    "--only", multiple=True, metavar="PATTERN", help="Only such faults, as proxy.* or client.bind; repeatable."
)
@click.option("--plan", "only_plan", is_flag=True, help="Only print the plan of the faults.")
def main(minutes: float, seed: int | None, clients: int, workers: int, only: tuple[str, ...], only_plan: bool) -> None:
    """Inject faults at random, under load; exit with 1 if anything is unexplained.

    As root, two appliances are hit, each on a machine of its own whose disk, processes and routes give out, too.
    """
    seed = random.randrange(2**32) if seed is None else seed
    click.echo(f"seed {seed}")
    kinds = [kind for kind in possible(os.geteuid() == 0) if any(fnmatch(kind.name, one) for one in only or "*")]
    if not kinds:
        raise click.BadParameter("no fault that can be injected here has such a name", param_hint="--only")
    rounds = plan(seed, minutes * 60, kinds=kinds)
    if only_plan:
        for fault in (fault for faults in rounds for fault in faults):
            click.echo(fault.line())
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # what it has made is removed then, too
    report = run(rounds, workers, clients, click.echo)
    click.echo("\n".join(report.summary()))
    sys.exit(bool(report.problems))


if __name__ == "__main__":
    main()
