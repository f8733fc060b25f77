"""`applctl status`: what runs, and how busy it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NoReturn

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from appliance.checks.view import GridView, look
from appliance.cli.command import command
from appliance.cli.output import Output, duration, print_json_line, status_text, table
from appliance.cli.watch import INTERVAL_S
from appliance.cli.watch import watch as show_screen
from appliance.cli.workers import workers_table
from appliance.grid.records import PoolCapacity
from appliance.machine.addresses import endpoint_for_others
from appliance.machine.environment import started_settings
from appliance.settings import config

EXIT_DEGRADED = 1
EXIT_NOT_RUNNING = 3


@command(
    "applctl status",
    "applctl status --watch",
    "applctl status --json | jq '.workers[] | {name, status, active}'",
    exit_codes="0  running and ready\n"
    "1  running, but a process or worker is missing (also while one is\n   recycled), or its name is taken\n"
    "3  not running",
)
@click.option("-w", "--watch", is_flag=True, help="Refresh every second, and obey keys; with --json, a line each time.")
def status(out: Output, watch: bool) -> dict[str, Any] | None:
    """Show processes, pools, workers and sessions.

    With --watch, a terminal shows all of the grid on one screen: pools, workers, sessions with traffic and labels,
    the queue, appliances and events. Keys: arrows or j and k choose a row, s or Tab a section, Enter shows all that is
    known of it. / filters, < and > sort by another column and r reverses the order, a shows this appliance only. d
    drains a worker and x ends a session, after a question. ? lists all keys, q ends.
    """
    if watch and out.console.is_terminal and not out.as_json:
        show_screen(out)
        return None
    if watch:
        _print_for_ever(out)
    view = _look()
    out.exit_code = _exit_code(view)
    out.show(shown(view))
    return _as_data(view)


def _print_for_ever(out: Output) -> NoReturn:
    """Print the status each second, until Ctrl-C ends the command."""
    while True:
        view = _look()
        if out.as_json:
            print_json_line(_as_data(view))
        out.show(shown(view))
        time.sleep(INTERVAL_S)


def _look() -> GridView:
    settings = config.load()
    return look(started_settings(settings) or settings)


def _exit_code(view: GridView) -> int:
    if not view.running:
        return EXIT_NOT_RUNNING
    return EXIT_DEGRADED if view.problems else 0


def _as_data(view: GridView) -> dict[str, Any]:
    return {
        "running": view.running,
        "changing": view.changing,
        "ready": view.ready,
        "problems": view.problems,
        "endpoint": view.settings.endpoint,
        "endpoint_for_others": endpoint_for_others(view.settings) or None,
        "dashboard": view.settings.dashboard,
        "supervisord": view.supervisor_pid or None,
        "left_over": view.left_over,
        "processes": [process.as_dict() for process in view.processes],
        "pools": [asdict(pool) for pool in view.pools],
        "workers": [asdict(worker) for worker in view.workers],
        "sessions": _count_sessions(view),
    }


def _count_sessions(view: GridView) -> dict[str, int]:
    waiting = sum(session.status == "waiting" for session in view.sessions)
    return {"active": len(view.sessions) - waiting, "waiting": waiting}


def _not_running(view: GridView) -> str:
    if view.changing:
        return "The appliance is being started or stopped: `applctl up` or `applctl down` has not ended yet."
    left = f" An earlier run left {', '.join(view.left_over)}." if view.left_over else ""
    return f"The appliance is not running.{left} Start it with `applctl up`."


def shown(view: GridView) -> RenderableType:
    """Return the whole status: a head, and one table each for processes, pools and workers."""
    if not view.running:
        return _not_running(view)
    tables = [one for one in (_processes(view), _pools(view), workers_table(view.workers)) if one.row_count]
    return Group(*_head(view), *(part for one in tables for part in ("", one)))


def _head(view: GridView) -> Iterator[Text]:
    sessions = _count_sessions(view)
    ready = "ready" if view.ready else "not ready"
    yield Text.assemble((f"Endpoint: {view.settings.endpoint}", "bold"), "   ", status_text(ready))
    if for_others := endpoint_for_others(view.settings):
        yield Text(f"From elsewhere: {for_others}")
    yield Text(f"Dashboard: {view.settings.dashboard}")
    yield Text(f"Sessions in the grid: {sessions['active']} active, {sessions['waiting']} waiting")
    for problem in view.problems:
        yield Text(f"Problem: {problem}", "yellow")


def _processes(view: GridView) -> Table:
    """List the processes that are no workers, and workers that are not registered."""
    registered = {worker.name for worker in view.workers}
    shown = table("Process", "Status", "Pid", "Uptime")
    for process in view.processes:
        if process.name not in registered:
            status = status_text(process.state.lower())
            shown.add_row(process.name, status, str(process.pid or ""), duration(process.uptime_s))
    return shown


def _pools(view: GridView) -> Table:
    shown = table("Pool", "Playwright", "Isolation", "Workers", "Slots", "Active", "Free", "Waiting")
    for pool in view.pools:
        workers = ", ".join(f"{count} {status}" for status, count in pool.workers.items() if count)
        numbers = (pool.slots, pool.active, pool.free, pool.waiting)
        shown.add_row(pool.browser, pool.version, _isolation(pool, view), workers, *map(str, numbers))
    return shown


def _isolation(pool: PoolCapacity, view: GridView) -> str:
    """Return what the sessions of a pool have by default; of a grid whose appliances differ, all that they have."""
    workers = [*view.workers, *view.other_workers]
    alike = [one for one in workers if (one.browser, one.minor) == (pool.browser, pool.version)]
    return ", ".join(sorted({one.isolation for one in alike} - {""}))
