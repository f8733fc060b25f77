"""The command `applctl` itself: its overview, its errors, and which commands it has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
import psutil

from appliance import __version__
from appliance.cli import (
    appliance,
    appliances,
    backup,
    bench,
    config,
    demo,
    doctor,
    down,
    drivers,
    events,
    firewall,
    logs,
    monitoring,
    pools,
    queue,
    restart,
    restore,
    run,
    scale,
    screenshot,
    sessions,
    setup,
    status,
    token,
    up,
    version,
    workers,
)
from appliance.cli.command import Group
from appliance.cli.output import console, print_json
from appliance.errors import ApplianceError, NotRunning
from appliance.machine_errors import explained

EXIT_FAILED = 1
EXIT_NOT_RUNNING = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_SECTIONS = {
    "Run": (up.up, down.down, restart.restart, setup.setup),
    "Look": (status.status, logs.logs, doctor.doctor, demo.demo, version.version),
    "Use": (screenshot.screenshot, run.run, bench.bench),
    "Set": (
        config.config,
        scale.scale,
        pools.pools,
        drivers.drivers,
        token.token,
        firewall.firewall,
        backup.backup,
        restore.restore,
        monitoring.monitoring,
    ),
    "Grid": (
        workers.workers,
        sessions.sessions,
        queue.queue,
        events.events,
        appliances.appliances,
        appliance.appliance,
    ),
}


class Application(Group):
    """All commands. An error that was foreseen prints a sentence that says what to do, and no traceback."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run a command and exit. With --json, an error is also printed as JSON, `{"error": {"message": …}}`."""
        words = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        try:
            code = super().main(words, *rest, **extra)
            sys.exit(code if isinstance(code, int) else 0)
        except click.Abort:  # Ctrl-C
            sys.exit(EXIT_INTERRUPTED)
        except click.ClickException as error:
            error.show()
            code, message, hint = error.exit_code, error.format_message(), ""
        except ApplianceError as error:
            code, message, hint = EXIT_FAILED, str(error), error.hint
            if isinstance(error, NotRunning):
                code = EXIT_NOT_RUNNING
            _say(message, hint)
        except (OSError, subprocess.SubprocessError, psutil.Error) as error:
            code, (message, hint) = EXIT_FAILED, explained(error)
            _say(message, hint)
        if "--json" in words:
            print_json({"error": {"message": message, "hint": hint}})
        sys.exit(code)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in sections."""
        for section, commands in _SECTIONS.items():
            with formatter.section(section):
                limit = formatter.width - 20
                formatter.write_dl([(str(one.name), one.get_short_help_str(limit)) for one in commands])


def _say(message: str, hint: str) -> None:
    out = console(to_stderr=True)
    out.print(f"Error: {message}", style="red", markup=False, soft_wrap=True)
    if hint:
        out.print(f"  {hint}", markup=False, soft_wrap=True)


@click.group(
    cls=Application,
    name="applctl",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""
\b
First steps:
  applctl up        start the grid, and open a page through it
  applctl status    show what runs
  applctl down      stop the grid

\b
Exit codes:
  0    done
  1    failed; the error says why
  2    wrong command line
  3    the appliance is not running
  130  interrupted by Ctrl-C

Settings are environment variables, or lines NAME=value in the installation's file appliance.env.
`applctl config list` explains them. `applctl COMMAND -h` has examples.

\b
Completion of commands, options and settings with the Tab key:
  bash  echo 'eval "$(_APPLCTL_COMPLETE=bash_source applctl)"' >> ~/.bashrc
  zsh   echo 'eval "$(_APPLCTL_COMPLETE=zsh_source applctl)"' >> ~/.zshrc
  fish  _APPLCTL_COMPLETE=fish_source applctl > ~/.config/fish/completions/applctl.fish""",
)
@click.version_option(__version__, prog_name="applctl")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Run a Playwright grid on this machine: one WebSocket endpoint, a pool of warm browsers."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _commands in _SECTIONS.values():
    for _command in _commands:
        main.add_command(_command)
