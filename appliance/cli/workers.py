"""`applctl workers`: list workers, and take single ones out of service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from appliance.cli.command import command, group
from appliance.cli.connection import current_grid
from appliance.cli.output import Output, counted, duration, mebibytes, status_text, table
from appliance.errors import ApplianceError
from appliance.grid.records import WorkerInfo
from appliance.names import minor_version

REASON = "drained by operator"


@group("applctl workers list", "applctl workers drain chromium-00")
def workers() -> None:
    """List workers, and take single ones out of service."""


@command(
    "applctl workers list",
    "applctl workers list --all",
    "applctl workers list --json | jq '.[] | {name, status, active}'",
    name="list",
    of=workers,
)
@click.option("--all", "everywhere", is_flag=True, help="List the workers of all appliances of the grid.")
def list_(out: Output, everywhere: bool) -> list[dict[str, Any]]:
    """List the workers of this appliance.

    Shows status, sessions, memory, and why a worker drains.
    """
    with current_grid() as (settings, grid):
        found = [one for one in grid.workers() if everywhere or one.appliance == settings.appliance_name]
    out.show(workers_table(found, with_appliance=everywhere) if found else "No worker is registered.")
    return [asdict(worker) for worker in found]


@command("applctl workers drain chromium-00", "applctl workers drain --all", of=workers)
@click.argument("names", metavar="[WORKER]...", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="Drain all workers of this appliance.")
def drain(out: Output, names: tuple[str, ...], everyone: bool) -> list[dict[str, Any]]:
    """Let workers finish their sessions and restart.

    WORKER is the name of a worker of this appliance, like chromium-00, or the id of any worker of the grid. A draining
    worker takes no new sessions. It waits for its last ones, for DRAIN_TIMEOUT at most, exits, and is started again.
    """
    with current_grid() as (settings, grid):
        chosen = _choose(grid.workers(), names, everyone, settings.appliance_name)
        left = {worker.id: grid.drain_worker(worker.id, REASON) or 0 for worker in chosen}
    for worker, sessions in left.items():
        out.say(f"{worker} is draining; {counted(sessions, 'session')} left.")
    return [{"worker": worker, "sessions": sessions} for worker, sessions in left.items()]


def workers_table(found: Sequence[WorkerInfo], *, with_appliance: bool = False) -> Table:
    """Return a table of workers; there is a column of versions if they differ, and of reasons if one of them drains."""
    with_version = len({minor_version(worker.version) for worker in found}) > 1
    with_reason = any(worker.reason for worker in found)
    first = [*["Appliance"] * with_appliance, "Worker", *["Playwright"] * with_version]
    shown = table(*first, "Status", "Sessions", "Lifetime", "Uptime", "Memory", *["Reason"] * with_reason)
    for worker in found:
        beginning = [*[worker.appliance] * with_appliance, worker.name]
        beginning += [minor_version(worker.version)] * with_version
        shown.add_row(*beginning, *_cells(worker), *[worker.reason] * with_reason)
    return shown


def _cells(worker: WorkerInfo) -> tuple[str | Text, ...]:
    return (
        status_text("suspect", f"{worker.status} (suspect)") if worker.suspect else status_text(worker.status),
        f"{worker.active}/{worker.concurrency}",
        f"{worker.lifetime}/{worker.quota or '∞'}",
        duration(_uptime_s(worker)),
        mebibytes(worker.memory_bytes),
    )


def _uptime_s(worker: WorkerInfo) -> float:
    """Redis' clock and this machine's may differ by a little, which must not show as a negative uptime."""
    return max(0.0, time.time() - worker.started_ms / 1000)


def _choose(workers: list[WorkerInfo], names: tuple[str, ...], everyone: bool, appliance: str) -> list[WorkerInfo]:
    """Find the workers that are named; raises ApplianceError, before any is drained, if one is not there."""
    own = [worker for worker in workers if worker.appliance == appliance]
    if everyone:
        return own
    if not names:
        raise click.UsageError("Name a worker, or use --all.")
    known = {worker.id: worker for worker in workers} | {worker.name: worker for worker in own}
    unknown = [name for name in names if name not in known]
    if unknown:
        there = ", ".join(worker.name for worker in own) or "none"
        raise ApplianceError(f"there is no worker {', '.join(unknown)}", f"This appliance's workers: {there}.")
    return [known[name] for name in names]
