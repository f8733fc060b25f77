"""`applctl status`: what runs, and how busy it is."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from appliance import config
from appliance.cli.output import console, duration, json_option, mebibytes, print_json
from appliance.models import WorkerState
from appliance.supervision import GridView, look, started_settings

EXIT_DEGRADED = 1
EXIT_NOT_RUNNING = 3


@click.command(
    short_help="Show what runs, and how busy it is.",
    epilog="""
\b
Exit codes:
  0  running and ready
  1  running, but not whole: a process or worker is missing (also while a worker is recycled), or its name is taken
  3  not running

\b
Examples:
  applctl status
  applctl status --json | jq '.workers[] | {slot, status, active}'
""",
)
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the appliance's processes, pools, workers and sessions."""
    settings = config.load()
    view = look(started_settings(settings) or settings)
    if as_json:
        print_json(_as_data(view))
    elif view.running:
        _print(view, console())
    else:
        left = f" An earlier run left {', '.join(view.left_over)}." if view.left_over else ""
        console().print(f"The appliance is not running.{left} Start it with `applctl up`.", markup=False)
    ctx.exit(_exit_code(view))


def _exit_code(view: GridView) -> int:
    if not view.running:
        return EXIT_NOT_RUNNING
    return EXIT_DEGRADED if view.problems else 0


def _as_data(view: GridView) -> dict[str, Any]:
    return {
        "running": view.running,
        "ready": view.ready,
        "problems": view.problems,
        "endpoint": view.settings.endpoint,
        "supervisord": view.supervisor_pid or None,
        "left_over": view.left_over,
        "processes": [process.as_dict() for process in view.processes],
        "pools": [pool.as_dict() for pool in view.pools],
        "workers": [asdict(worker) for worker in view.workers],
        "sessions": _count_sessions(view),
    }


def _count_sessions(view: GridView) -> dict[str, int]:
    waiting = sum(session.state == "waiting" for session in view.sessions)
    return {"active": len(view.sessions) - waiting, "waiting": waiting}


def _print(view: GridView, out: Console) -> None:
    sessions = _count_sessions(view)
    out.print(f"Endpoint: {view.settings.endpoint}   {'ready' if view.ready else 'not ready'}", style="bold")
    out.print(f"Sessions in the grid: {sessions['active']} active, {sessions['waiting']} waiting")
    for problem in view.problems:
        out.print(f"Problem: {problem}", style="yellow", markup=False)
    for table in (_processes(view), _pools(view), _workers(view)):
        if table.row_count:
            out.print()
            out.print(table, soft_wrap=False)
    for worker in view.workers:
        if worker.reason:
            out.print(f"{worker.slot} drains: {worker.reason}", markup=False)


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="bold")


def _processes(view: GridView) -> Table:
    table = _table("Process", "State", "Pid", "Uptime")
    for process in view.processes:
        table.add_row(process.name, process.state, str(process.pid or ""), duration(process.uptime_s))
    return table


def _pools(view: GridView) -> Table:
    table = _table("Pool", "Playwright", "Workers", "Slots", "Active", "Free", "Waiting")
    for pool in view.pools:
        workers = ", ".join(f"{count} {status}" for status, count in pool.workers.items() if count)
        numbers = (pool.slots, pool.active, pool.free, pool.waiting)
        table.add_row(pool.browser, pool.version, workers, *map(str, numbers))
    return table


def _workers(view: GridView) -> Table:
    table = _table("Worker", "Status", "Active", "Lifetime", "Uptime", "Memory")
    for worker in view.workers:
        table.add_row(
            worker.slot,
            f"{worker.status} (suspect)" if worker.suspect else worker.status,
            f"{worker.active}/{worker.concurrency}",
            f"{worker.lifetime}/{worker.quota or '∞'}",
            duration(_uptime_s(worker)),
            mebibytes(worker.memory_bytes),
        )
    return table


def _uptime_s(worker: WorkerState) -> float:
    """Redis' clock and this machine's may differ by a little, which must not show as a negative uptime."""
    return max(0.0, time.time() - worker.started_ms / 1000)
