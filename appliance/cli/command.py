"""The decorators that make commands: each has --json, examples in its help, and an `Output` as first argument."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable
from typing import Any

import click

from appliance.cli.output import Output, print_json

# What people type who know other programs, and the command here.
_MEANT = {
    **dict.fromkeys(("start", "serve"), "up"),
    **dict.fromkeys(("stop", "halt", "shutdown", "quit"), "down"),
    **dict.fromkeys(("ps", "info", "top"), "status"),
    **dict.fromkeys(("log", "journal", "tail"), "logs"),
    **dict.fromkeys(("check", "diagnose"), "doctor"),
    **dict.fromkeys(("install",), "setup"),
    **dict.fromkeys(("settings", "env"), "config list"),
}

_RENAMED = {"guard": "firewall"}  # a command's former name, which still works, and is not listed

_JSON_HELP = "Print machine-readable JSON; messages go to stderr."


class Group(click.Group):
    """A group that lists its commands in the order of their use, and suggests one for a name that it does not know."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which the commands were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command. The error for an unknown one suggests what may be meant."""
        if (renamed := _RENAMED.get(args[0])) in self.commands:
            args = [str(renamed), *args[1:]]
        if args[0] not in self.commands and not ctx.resilient_parsing:
            similar = ", ".join(f"{ctx.command_path} {name}" for name in self._similar(args[0]))
            raise click.UsageError(f"No such command '{args[0]}'." + (f" Did you mean: {similar}?" if similar else ""))
        return super().resolve_command(ctx, args)

    def _similar(self, name: str) -> list[str]:
        if (meant := _MEANT.get(name, "")).split(" ")[0] in self.commands:
            return [meant]
        groups = {group: one.commands for group, one in self.commands.items() if isinstance(one, click.Group)}
        deeper = [f"{group} {name}" for group, commands in groups.items() if name in commands]
        return deeper or difflib.get_close_matches(name, self.commands, n=2)


def command(
    *examples: str,
    of: click.Group | None = None,
    name: str | None = None,
    exit_codes: str = "",
    cls: type[click.Command] = click.Command,
    **more: Any,
) -> Callable[[Callable[..., Any]], Any]:
    """Make a command of a function, whose first argument is the `Output`, and add it to a group.

    With --json, what the function returns is printed as JSON; None prints nothing. `examples` and `exit_codes` end the
    help. The first sentence of the docstring is the summary in lists of commands.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def run(as_json: bool, **arguments: Any) -> None:
            out = Output(as_json)
            data = function(out, **arguments)
            if as_json and data is not None:
                print_json(data)
            if out.exit_code:
                click.get_current_context().exit(out.exit_code)

        epilog = _epilog(exit_codes, examples)
        made = click.command(name=name or function.__name__, cls=cls, epilog=epilog, **more)(run)
        made.params.append(click.Option(["--json", "as_json"], is_flag=True, help=_JSON_HELP))
        if of:
            of.add_command(made)
        return made

    return decorate


def group(*examples: str, name: str | None = None) -> Callable[[Callable[..., Any]], Group]:
    """Make a group of commands, whose docstring is its help."""

    def decorate(function: Callable[..., Any]) -> Group:
        return click.group(name=name or function.__name__, cls=Group, epilog=_epilog("", examples))(function)

    return decorate


def _epilog(exit_codes: str, examples: Iterable[str]) -> str:
    codes = f"\b\nExit codes:\n{_indented(exit_codes.splitlines())}\n\n" if exit_codes else ""
    return f"{codes}\b\nExamples:\n{_indented(examples)}"


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
