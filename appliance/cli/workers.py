"""`applctl workers`: take single workers out of service."""

from __future__ import annotations

import click

from appliance.cli.connection import current_settings
from appliance.cli.output import console, counted, json_option, print_json
from appliance.errors import ApplianceError
from appliance.models import WorkerState
from appliance.registry import open_registry

REASON = "drained by operator"


@click.group(
    short_help="Take single workers out of service.",
    epilog="""
\b
Example:
  applctl workers drain chromium-00
""",
)
def workers() -> None:
    """Take single workers out of service. `applctl status` lists them."""


@workers.command(
    short_help="Let workers finish their sessions and start anew.",
    epilog="""
\b
Examples:
  applctl workers drain chromium-00
  applctl workers drain --all
""",
)
@click.argument("names", metavar="[WORKER]...", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="Drain all workers of this appliance.")
@json_option
def drain(names: tuple[str, ...], everyone: bool, as_json: bool) -> None:
    """Let workers finish their sessions, exit, and be started anew by supervisord.

    WORKER is a slot of this appliance, like chromium-00, or the id of any worker of the grid. A drained
    worker takes no new sessions; it waits for its last ones up to DRAIN_TIMEOUT.
    """
    settings = current_settings()
    with open_registry(settings) as registry:
        chosen = _choose(registry.workers(), names, everyone, settings.appliance_name)
        left = {worker.id: registry.drain_worker(worker.id, REASON) or 0 for worker in chosen}
    if as_json:
        print_json([{"worker": worker, "sessions": sessions} for worker, sessions in left.items()])
    for worker, sessions in left.items():
        console(as_json).print(f"{worker} drains; {counted(sessions, 'session')} left", markup=False)


def _choose(workers: list[WorkerState], names: tuple[str, ...], everyone: bool, appliance: str) -> list[WorkerState]:
    """Find the workers that are named; raises ApplianceError, before any is drained, if one is not there."""
    own = [worker for worker in workers if worker.appliance == appliance]
    if everyone:
        return own
    if not names:
        raise click.UsageError("Name a worker, or say --all.")
    known = {worker.id: worker for worker in workers} | {worker.slot: worker for worker in own}
    unknown = [name for name in names if name not in known]
    if unknown:
        there = ", ".join(worker.slot for worker in own) or "none"
        raise ApplianceError(f"there is no worker {', '.join(unknown)}", f"This appliance's workers: {there}.")
    return [known[name] for name in names]
