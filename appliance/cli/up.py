"""`applctl up`: start the appliance."""

from __future__ import annotations

from typing import Any

import click

from appliance.checks.running import check_changes
from appliance.cli import foreground as foreground_
from appliance.cli.bring_up import bring_up, check, present, try_out
from appliance.cli.command import command
from appliance.cli.output import Output
from appliance.cli.startup import await_grid
from appliance.errors import SupervisorError
from appliance.machine.addresses import endpoint_for_others
from appliance.machine.environment import started_settings
from appliance.machine.record import record_of
from appliance.settings import config
from appliance.settings.config import Settings


@command(
    "applctl up",
    "CHROMIUM_WORKERS=4 PORT=9000 applctl up",
    "applctl up --no-demo --json | jq -r .endpoint",
    "applctl up --foreground              # in a container, or as a systemd service",
    exit_codes="0  the grid is ready; with --foreground: a signal or `applctl down` ended it\n"
    "1  it did not start; with --foreground also: it ended unexpectedly",
)
@click.option("--no-setup", is_flag=True, help="Install nothing: Redis and the browsers are there.")
@click.option("--no-demo", is_flag=True, help="Do not open a page through the grid at the end.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the grid is ready, and open no page.")
@click.option("--foreground", is_flag=True, help="Stay, print the logs, and stop the grid on SIGTERM or Ctrl-C.")
def up(out: Output, no_setup: bool, no_demo: bool, no_wait: bool, foreground: bool) -> dict[str, Any] | None:
    """Start the grid, and open a page through it.

    It waits until the grid is ready. The grid runs in the background, or with --foreground until a signal ends it.
    Running it again is harmless: what runs is left as it is, with the settings that it was started with. `applctl
    restart` reads them again.
    """
    settings = config.load()
    running = started_settings(settings)

    def begin() -> dict[str, Any]:
        check(settings, out)
        bring_up(settings, out, with_setup=not no_setup)
        return _present_unready(settings, out) if no_wait else _await(settings, out, with_demo=not no_demo)

    if foreground:
        if running:
            raise SupervisorError("the appliance is already running in the background", "Stop it first: applctl down.")
        foreground_.serve(settings, out, begin)
        return None
    if not running:
        return begin()
    say_what_runs(settings, running, out)
    if no_wait:
        return _present_unready(running, out)
    if record_of(running).read().drained:
        out.warn(f"The grid at {running.endpoint} is drained: `applctl appliance undrain` puts it back in service.")
        return present(running, None, out) if out.as_json else None
    return _await(running, out, with_demo=False)


def _await(settings: Settings, out: Output, *, with_demo: bool) -> dict[str, Any]:
    await_grid(settings, out)
    with_demo = with_demo and settings.own_workers_of(settings.default_browser_type) > 0
    return present(settings, try_out(settings, out) if with_demo else None, out)


def say_what_runs(settings: Settings, running: Settings, out: Output) -> None:
    """Print that the appliance is already running, and which settings differ from those of this shell."""
    out.say("The appliance is already running.")
    for found in check_changes(settings, running):
        if found.status != "ok":
            out.warn(f"  {found.finding}")
            out.say(f"  {found.remedy}")


def _present_unready(settings: Settings, out: Output) -> dict[str, Any]:
    out.say(f"The grid at {settings.endpoint} is starting. `applctl status` shows how far it is.")
    for_others = endpoint_for_others(settings) or None
    return {"endpoint": settings.endpoint, "endpoint_for_others": for_others, "run_dir": settings.run_dir}
