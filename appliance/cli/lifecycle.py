"""`applctl setup, up, down, restart`: the appliance's life as one process tree."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console

from appliance import browsers, config, provision
from appliance.cli import welcome
from appliance.cli.demo import PICTURE, Demo, describe, run_demo
from appliance.cli.guard import apply_guard
from appliance.cli.output import busy, console, json_option, print_json
from appliance.cli.precheck import require_sandbox, require_startable
from appliance.cli.startup import await_grid
from appliance.config import Settings
from appliance.doctor.grid import check_changes
from appliance.relations import is_loopback
from appliance.supervision import Supervisor, bringing_up, require_free_port, start, started_settings, stop
from appliance.tokens import has_boot_token

_RESTART_MARGIN_S = 20


@click.command(
    short_help="Install Redis and the browsers if missing.",
    epilog="""
\b
Examples:
  applctl setup
  FIREFOX_WORKERS=2 applctl setup
""",
)
@json_option
def setup(as_json: bool) -> None:
    """See to a Redis server and to the configured browsers; what is there and runs is kept.

    Redis or Valkey 7 comes from the path, else from apt; it is not needed if REDIS_URL is set. A
    browser comes from Playwright's own download, else from the system, else from apt.
    """
    provided = _provide(config.load(), console(as_json))
    if as_json:
        print_json([one.as_dict() for one in provided])


@click.command(
    short_help="Start the appliance and try it out.",
    epilog="""
\b
Examples:
  applctl up
  CHROMIUM_WORKERS=4 PORT=9000 applctl up
  applctl up --no-demo --json | jq -r .endpoint
""",
)
@click.option("--no-setup", is_flag=True, help="Install nothing: Redis and the browsers are there.")
@click.option("--no-demo", is_flag=True, help="Do not open a page through the grid at the end.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the grid is ready, and open no page.")
@json_option
def up(no_setup: bool, no_demo: bool, no_wait: bool, as_json: bool) -> None:
    """Start the appliance in the background, wait until it is ready, and try it out.

    Running it again is harmless: what runs is left as it is, with the settings that it was started
    with (`applctl restart` reads them anew).
    """
    settings, out = config.load(), console(as_json)
    running = started_settings(settings)
    if running:
        say_what_runs(settings, running, out)
    else:
        require_startable(settings, out)
        _bring_up(settings, out, with_setup=not no_setup)
    if no_wait:
        _present_unready(running or settings, out, as_json)
        return
    if running and running.memory.read().drained:
        out.print(f"The grid at {running.endpoint} is drained here: `applctl appliance undrain` lets it serve again.")
        if as_json:
            _present(running, None, out, as_json)
        return
    await_grid(running or settings, out)
    tries_out = not running and not no_demo and settings.workers_of(settings.default_browser_type)
    _present(running or settings, _try_out(settings, out) if tries_out else None, out, as_json)


@click.command(
    short_help="Stop the appliance.",
    epilog="""
\b
Example:
  applctl down
""",
)
@json_option
def down(as_json: bool) -> None:
    """Stop the appliance: running sessions are given SHUTDOWN_GRACE seconds to end.

    Harmless if it does not run. Processes whose supervisord was killed are ended too.
    """
    settings, out = config.load(), console(as_json)
    with busy(out, "Stopping: running sessions may end first"):
        was_running = stop(settings)
    out.print("The appliance is stopped." if was_running else "The appliance was not running.")
    if as_json:
        print_json({"stopped": was_running})


@click.command(
    short_help="Restart the appliance or one process.",
    epilog="""
\b
Examples:
  applctl restart
  applctl restart chromium-00
""",
)
@click.argument("name", required=False)
@json_option
def restart(name: str | None, as_json: bool) -> None:
    """Stop the appliance and start it again, with the settings read anew; or restart one process.

    NAME is proxy, redis or a worker's slot. A single process keeps the settings that the appliance
    was started with.
    """
    settings, out = config.load(), console(as_json)
    if name:
        running = started_settings(settings) or settings
        deadline = time.monotonic() + running.shutdown_grace + _RESTART_MARGIN_S
        with busy(out, f"Restarting {name}"):
            Supervisor(settings.run_dir).restart_process(name, deadline)
        out.print(f"{name} is restarted.", markup=False)
        if as_json:
            print_json({"restarted": name})
        return
    require_startable(settings, out)
    require_sandbox(settings)
    with busy(out, "Stopping: running sessions may end first"):
        stop(settings)
    _bring_up(settings, out, with_setup=False)
    await_grid(settings, out)
    _present(settings, None, out, as_json)


def _provide(settings: Settings, out: Console) -> list[provision.Provided]:
    with out.status("Looking for Redis and the browsers …") as status:

        def say(step: str) -> None:
            status.update(f"{step[:1].upper()}{step[1:]} …")
            if not out.is_terminal:
                out.print(step, markup=False)

        provided = provision.provide(settings, say)
    for one in provided:
        where = one.note or f"{one.version}  {one.path}  ({one.how})"
        style = "yellow" if one.how == "missing" else None
        out.print(f"  {one.name:<12} {where}", style=style, markup=False)
    return provided


def _bring_up(settings: Settings, out: Console, *, with_setup: bool) -> None:
    """End what an earlier run left, and start the appliance."""
    with bringing_up(settings):
        _start(settings, out, with_setup)


def _start(settings: Settings, out: Console, with_setup: bool) -> None:
    if started_settings(settings):  # by another `up`, since the first look
        return
    if stop(settings):
        out.print("Ended what an earlier run had left.")
    require_free_port(settings)  # before anything is installed
    if with_setup:
        _provide(settings, out)
    redis = None if settings.redis_url else provision.find_redis()
    if not redis and not settings.redis_url:
        raise provision.ProvisionError(
            f"there is no Redis {provision.MIN_REDIS} or Valkey server",
            "`applctl setup` installs one; or set REDIS_URL to a Redis that runs elsewhere.",
        )
    if concern := require_sandbox(settings):
        out.print(concern, style="yellow", markup=False)
    if settings.is_guarded:
        apply_guard(settings, out)
    start(settings, Path(redis.path) if redis else None)


def _try_out(settings: Settings, out: Console) -> Demo:
    with busy(out, "Opening a page through the grid"):
        result = run_demo(settings, Path(PICTURE))
    out.print(describe(result), markup=False)
    return result


def say_what_runs(settings: Settings, running: Settings, out: Console) -> None:
    """Say that the appliance runs already, and which settings it does not have as they are here now."""
    out.print("The appliance is running already.")
    for check in check_changes(settings, running):
        if check.status != "ok":
            out.print(f"  {check.finding}", style="yellow", markup=False)
            out.print(f"  {check.remedy}", markup=False)


def _present_unready(settings: Settings, out: Console, as_json: bool) -> None:
    out.print(f"The grid at {settings.endpoint} starts; `applctl status` shows how far it is.", markup=False)
    if as_json:
        print_json({"endpoint": settings.endpoint, "run_dir": settings.run_dir})


def _present(settings: Settings, tried: Demo | None, out: Console, as_json: bool) -> None:
    version = browsers.driver_version(settings)
    if as_json:
        print_json(
            {
                "endpoint": settings.endpoint,
                "playwright": version,
                "run_dir": settings.run_dir,
                "workers": {browser: workers for browser, workers in settings.pools.items() if workers},
                "demo": tried.as_dict() if tried else None,
            }
        )
    else:
        is_for_all = not is_loopback(settings.host) or has_boot_token(settings.token_file.read())
        wants_token = is_for_all and not settings.allow_anonymous
        text = welcome.text(settings.endpoint, settings.default_browser_type, version, wants_token=wants_token)
        out.print(text, markup=False)
