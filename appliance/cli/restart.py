"""`applctl restart`: stop the appliance and start it again, or restart one process."""

from __future__ import annotations

from typing import Any

import click

from appliance.checks import When, require
from appliance.cli.bring_up import bring_up, check, present
from appliance.cli.command import command
from appliance.cli.connection import running_settings
from appliance.cli.down import stop_appliance
from appliance.cli.output import Output
from appliance.cli.startup import await_grid
from appliance.machine.supervisor import Supervisor
from appliance.settings import config

_MARGIN_S = 20


@command("applctl restart", "applctl restart chromium-00")
@click.argument("name", required=False)
def restart(out: Output, name: str | None) -> dict[str, Any]:
    """Restart the appliance, or one of its processes.

    The appliance reads its settings again. NAME is proxy, redis or a worker's name, like chromium-00; a single process
    keeps the settings that the appliance was started with.
    """
    if name:
        return _restart_process(name, out)
    settings = config.load()
    check(settings, out)
    require(settings, When.START)  # before anything is stopped
    stop_appliance(settings, out)
    bring_up(settings, out, with_setup=False)
    await_grid(settings, out)
    return present(settings, None, out)


def _restart_process(name: str, out: Output) -> dict[str, Any]:
    running = running_settings()
    with out.busy(f"Restarting {name}"):
        Supervisor(running.run_dir).restart_process(name, running.shutdown_grace + _MARGIN_S)
    out.say(f"Restarted {name}.")
    return {"restarted": name}
