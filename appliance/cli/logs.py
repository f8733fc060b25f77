"""`applctl logs`: the processes' logs, also while they are written."""

from __future__ import annotations

import difflib
import time

import click

from appliance.cli.command import command
from appliance.cli.log_files import LogFile, names_of
from appliance.cli.log_lines import Logs, print_record
from appliance.cli.output import Output
from appliance.errors import ApplianceError, NotRunning
from appliance.machine.environment import started_settings
from appliance.settings import config
from appliance.settings.config import Settings

_POLL_INTERVAL_S = 0.25


class UnknownLog(ApplianceError):
    """There is no log of that name."""


@command(
    "applctl logs                      # the last lines of all processes",
    "applctl logs -f chromium-00       # one worker, as it goes",
    "applctl logs -n 1000 proxy | grep session.ended",
    "applctl logs --json | jq 'select(.level == \"error\")'",
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Print new lines as they are written, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="Number of last lines.")
def logs(out: Output, names: tuple[str, ...], follow: bool, lines: int) -> None:
    """Show the logs of all processes, merged by time.

    NAME is proxy, redis, supervisord, or a worker's name, like chromium-00. The start-up messages of supervisord and
    Redis are left out. The files are in RUN_DIR/log. With --json, each line is an object.
    """
    settings = config.load()
    running = started_settings(settings)
    chosen = _chosen(running or settings, names)
    last = chosen.last(lines)
    if running is None:
        if not last and not follow:
            raise NotRunning
        Output(as_json=True).warn("The appliance is not running. These are the logs of its last run.")
    for record in last:
        print_record(record, out)
    while follow:
        time.sleep(_POLL_INTERVAL_S)
        chosen.print_new(out)


def _chosen(settings: Settings, names: tuple[str, ...]) -> Logs:
    known = names_of(settings)
    for name in names:
        if name not in known:
            similar = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {similar[0]}?" if similar else ""
            raise UnknownLog(f"there is no log {name}{meant}", f"The logs: {', '.join(known)}.")
    return Logs(LogFile(settings.paths.log_of(name)) for name in names or known)
