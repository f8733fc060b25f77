"""`applctl config`: show, explain, check and change the settings."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem
from dotenv import dotenv_values
from rich.text import Text

from appliance.checks import When, require
from appliance.checks.programs import check_pools
from appliance.cli import bring_up
from appliance.cli.command import Group, command
from appliance.cli.output import Output
from appliance.errors import SettingsError
from appliance.settings import config as configuration
from appliance.settings import file as settings_file
from appliance.settings.config import Settings
from appliance.settings.redis_url import mask

_SECRETS = ("APPLIANCE_TOKEN", "REDIS_PASSWORD")  # never shown; in other settings, passwords in URLs are masked
_READABLE_COLUMNS = 80
_HIDDEN = (*_SECRETS, "REDIS_URL", "BROWSER_PROXY")  # not shown while they are typed


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `applctl config list` shows it; `source` is environment, file or default."""

    name: str
    value: Any
    source: str
    description: str


def _complete(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete the name of a setting."""
    return [CompletionItem(name) for name in settings_file.known_names() if name.startswith(begun.upper())]


_names = click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=_complete)


@command(
    "applctl config list",
    "applctl config explain DRAIN_TIMEOUT",
    "applctl config set CHROMIUM_WORKERS=4",
    "PORT=9000 applctl config          # try a setting out",
    "applctl config --json | jq -r '.[] | select(.source != \"default\") | .name'",
    cls=Group,
    invoke_without_command=True,
)
def config(out: Output) -> list[dict[str, Any]] | None:
    """Show, explain, check and change settings.

    Alone, it lists all settings, like `applctl config list`.
    """
    return None if click.get_current_context().invoked_subcommand else _show(out)


@command("applctl config list", "applctl config list --json | jq -r '.[].name'", name="list", of=config)
def list_(out: Output) -> list[dict[str, Any]]:
    """List all settings: values, sources and meanings.

    The source is environment, file or default. Tokens and passwords are masked.
    """
    return _show(out)


@command(
    "applctl config explain DRAIN_NOTICE DRAIN_TIMEOUT",
    "applctl config explain PORT --json | jq '.[].value'",
    of=config,
)
@_names
def explain(out: Output, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Explain some settings, as `applctl config list` explains all."""
    return _show(out, _known(names))


@command("applctl config get PORT", "applctl config get PORT HOST --json", of=config)
@_names
def get(out: Output, names: tuple[str, ...]) -> dict[str, Any]:
    """Print the values of settings, one on each line.

    Tokens and passwords are masked.
    """
    chosen = _known(names)
    settings, error = _loaded()
    found = {one.name: one.value for one in explained(settings)}
    for name in chosen:
        out.show(configuration.as_text(found[name]))
    if error:
        raise error
    return {name: found[name] for name in chosen}


@command("applctl config check && applctl restart", of=config)
def check(out: Output) -> dict[str, bool]:
    """Check the settings and start nothing.

    `up` and `restart` do the same first: values, certificates, disk space, the port, the sandbox, and a shared Redis.
    """
    settings = configuration.load()
    bring_up.check(settings, out)
    require(settings, When.START)
    out.say("These settings can be used.")
    return {"usable": True}


@command(
    "applctl config set CHROMIUM_WORKERS=4 SHUTDOWN_GRACE=60",
    "applctl config set PORT = 9000",
    "applctl config set APPLIANCE_TOKEN           # asks for it, so that no history keeps it",
    "applctl config set APPLIANCE_TOKEN < secret  # reads a line",
    name="set",
    of=config,
)
@click.argument("assignments", metavar="NAME=VALUE...", nargs=-1, required=True, shell_complete=_complete)
def set_(out: Output, assignments: tuple[str, ...]) -> dict[str, Any]:
    """Set settings in the settings file.

    The rest of the file stays as it is. If one value is wrong, none is set. NAME alone asks for the value; without a
    terminal it is read from standard input, a line for each.
    """
    given = dict(_assigned(assignments))
    settings_file.require_known(given)
    done = _change(out, {name: _ask(name) if value is None else value for name, value in given.items()})
    if given.keys() & {"POOLS", "DRIVERS", "DRIVERS_DIR", "PLAYWRIGHT_DRIVER"}:
        for found in check_pools(configuration.load()):
            if found.status != "ok":
                out.warn(f"Warning: {found.finding}. {found.remedy}")
    return done


@command("applctl config unset CHROMIUM_WORKERS", of=config)
@_names
def unset(out: Output, names: tuple[str, ...]) -> dict[str, Any]:
    """Remove settings from the settings file.

    Their defaults apply then.
    """
    return _change(out, dict.fromkeys(_known(names)))


def _known(names: tuple[str, ...]) -> list[str]:
    """Return the names in capital letters; raises SettingsError, with the nearest name, for an unknown one."""
    found = [name.upper() for name in names]
    settings_file.require_known(found)
    return found


def _assigned(words: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """Return the names and values of NAME=VALUE and NAME = VALUE; of NAME alone, the value is None."""
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not equals and left and left[0].startswith("="):
            equals, value = "=", left.pop(0)[1:] or (left.pop(0) if left else "")
        elif name.endswith(" "):
            value = value.strip()
        yield name.strip().upper(), value if equals else None


def _ask(name: str) -> str:
    """Ask for a value: on the terminal, or as a line of standard input. What may be secret is not shown."""
    if sys.stdin.isatty():
        value: str = click.prompt(name, hide_input=name in _HIDDEN, err=True)
        return value
    if value := sys.stdin.readline().rstrip("\n"):
        return value
    raise click.UsageError(f"There is no value for {name}. Write {name}=VALUE, or give it on standard input.")


def _change(out: Output, values: Mapping[str, str | None]) -> dict[str, Any]:
    file = settings_file.change(values)
    for name in values:
        if name in os.environ:
            out.warn(f"Warning: the environment sets {name}, too, and overrides the file.")
    out.say(f"Changed {file}. `applctl restart` applies it.")
    return {"file": file, "changed": list(values)}


def _show(out: Output, names: Collection[str] = ()) -> list[dict[str, Any]]:
    """Show the settings of these names, or all."""
    settings, error = _loaded()
    shown = [setting for setting in explained(settings) if not names or setting.name in names]
    for setting in shown:
        value, style = configuration.as_text(setting.value), "" if setting.source == "default" else "bold"
        out.show(Text.assemble((f"{setting.name}={value}", style), (f"  ({setting.source})", "dim")))
        out.show(_paragraph(setting.description, min(out.console.width, _READABLE_COLUMNS)))
    out.show(f"\nSettings file: {configuration.settings_file()}")
    for name, meant in configuration.unknown_names().items():
        Output(as_json=True).warn(f"Warning: unknown setting {name} in the settings file{_suggestion(meant)}")
    if error:
        raise error
    return [asdict(setting) for setting in shown]


def _suggestion(meant: str) -> str:
    return f"; did you mean {meant}?" if meant else "."


def _paragraph(text: str, width: int) -> str:
    indent = 4 * " "
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _loaded() -> tuple[Settings | None, SettingsError | None]:
    """Load the settings. Wrong ones are shown all the same, as text: whoever corrects them needs the descriptions."""
    try:
        return configuration.load(), None
    except SettingsError as error:
        return None, error


def explained(settings: Settings | None) -> list[Setting]:
    """Return all settings with their sources, secrets masked.

    Without `settings`, because some are wrong, the values are the text that was set, and None for defaults.
    """
    values = settings.model_dump(mode="json") if settings else {}
    found = []
    for name, field in Settings.model_fields.items():
        source, text = _source(name)
        value = values[name] if settings else text
        if name.upper() in _SECRETS:
            value = "***" if text else None
        found.append(Setting(name.upper(), mask(value), source, field.description or ""))
    return found


def _source(name: str) -> tuple[str, str | None]:
    """Return where a setting comes from, and its text there. An empty one is not set, and case does not matter."""
    file = dotenv_values(configuration.settings_file())
    sources: dict[str, Mapping[str, str | None]] = {"environment": os.environ, "file": file}
    for source, values in sources.items():
        for key, text in values.items():
            if key.lower() == name and text:
                return source, text
    return "default", None
