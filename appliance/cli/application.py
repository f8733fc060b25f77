"""The command `applctl` itself: its overview, its errors, and which commands it has."""

from __future__ import annotations

import subprocess
from typing import Any, NoReturn

import click
import psutil

from appliance import __version__
from appliance.cli import (
    appliances,
    configuration,
    demo,
    diagnosis,
    guard,
    journal,
    lifecycle,
    sessions,
    state,
    tokens,
    workers,
)
from appliance.errors import ApplianceError
from appliance.machine_errors import explained

EXIT_FAILED = 1


class Application(click.Group):
    """A group of commands whose foreseen errors are a line that says what to do, not a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the commands in the order of their use, not of the alphabet."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; of one that only groups have, `drain` say, the error names theirs."""
        groups = {name: one.commands for name, one in self.commands.items() if isinstance(one, click.Group)}
        meant = [f"{self.name} {name} {args[0]}" for name, commands in groups.items() if args[0] in commands]
        if meant and args[0] not in self.commands and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command '{args[0]}'. Did you mean: {', '.join(meant)}?", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exits with 1 after a foreseen error."""
        try:
            return super().invoke(ctx)
        except ApplianceError as error:
            _fail(ctx, str(error), error.hint)
        except (OSError, subprocess.SubprocessError, psutil.Error) as error:
            if isinstance(error, BrokenPipeError):  # nobody reads the output any more: click ends quietly
                raise
            _fail(ctx, *explained(error))


def _fail(ctx: click.Context, message: str, hint: str) -> NoReturn:
    click.secho(f"applctl: {message}", fg="red", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    ctx.exit(EXIT_FAILED)


@click.group(
    cls=Application,
    name="applctl",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""
\b
First steps:
  applctl up        start it, and open a page through it
  applctl status    see what runs
  applctl down      stop it

\b
Exit codes: 0 done; 1 failed, the error says why; 2 the command line is wrong;
3 the appliance is not running (status).

Settings are environment variables, or lines NAME=value in the file appliance.env of the
installation: `applctl config` explains them. `applctl COMMAND -h` has examples.""",
)
@click.version_option(__version__, prog_name="applctl")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Run a Playwright grid on this machine: one WebSocket endpoint, a pool of warm browsers."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (
    lifecycle.up,
    lifecycle.down,
    lifecycle.restart,
    state.status,
    journal.logs,
    configuration.config,
    diagnosis.doctor,
    demo.demo,
    appliances.appliances,
    appliances.appliance,
    workers.workers,
    sessions.sessions,
    tokens.token,
    guard.guard,
    lifecycle.setup,
):
    main.add_command(_command)
