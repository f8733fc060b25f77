"""`applctl config`: every setting, its value, and where that comes from; and what checks or changes them."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import click
from dotenv import dotenv_values
from rich.text import Text

from appliance import config as configuration
from appliance import settings_file
from appliance.cli.output import console, json_option, print_json
from appliance.cli.precheck import require_sandbox, require_startable
from appliance.config import Settings
from appliance.errors import LaunchError, SettingsError
from appliance.redis_url import mask


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `applctl config` shows it; `source` is environment, file or default."""

    name: str
    value: Any
    source: str
    description: str


@click.group(
    short_help="Explain every setting, and change them.",
    invoke_without_command=True,
    epilog="""
\b
Examples:
  applctl config
  applctl config explain DRAIN_TIMEOUT
  applctl config set CHROMIUM_WORKERS=4
  PORT=9000 applctl config          # try a setting out
  applctl config --json | jq -r '.[] | select(.source != "default") | .name'
""",
)
@json_option
@click.pass_context
def config(ctx: click.Context, as_json: bool) -> None:
    """Show every setting: its value, where that comes from, and what it does.

    Passwords in URLs are masked.
    """
    if ctx.invoked_subcommand is None:
        _show(as_json)


@config.command(
    name="explain",
    short_help="Explain some settings.",
    epilog="""
\b
Examples:
  applctl config explain DRAIN_NOTICE DRAIN_TIMEOUT
  applctl config explain PORT --json | jq '.[].value'
""",
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def explain_(names: tuple[str, ...], as_json: bool) -> None:
    """Show some settings as `applctl config` shows all of them."""
    settings_file.require_known(name.upper() for name in names)
    _show(as_json, {name.upper() for name in names})


def _show(as_json: bool, names: Collection[str] = ()) -> None:
    """Show the settings of these names, or all."""
    try:
        settings, error = configuration.load(), None
    except SettingsError as wrong:  # shown all the same: whoever corrects them needs the descriptions
        settings, error = None, wrong
    explained = [setting for setting in explain(settings) if not names or setting.name in names]
    if as_json:
        print_json([asdict(setting) for setting in explained])
    else:
        _print(explained)
    for name, meant in configuration.unknown_names().items():
        advice = f"; did you mean {meant}?" if meant else ""
        console(as_json=True).print(f"Warning: {name} in the settings file is no setting{advice}", markup=False)
    if error:
        raise error


@config.command(
    short_help="Check the settings, and start nothing.",
    epilog="""
\b
Example:
  applctl config check && applctl restart
""",
)
@json_option
def check(as_json: bool) -> None:
    """Check what `up` and `restart` check first: values, certificates, the sandbox, whether a shared Redis fits."""
    settings, out = configuration.load(), console(as_json)
    require_startable(settings, out)
    with suppress(LaunchError):  # no browser is installed yet
        require_sandbox(settings)
    out.print("These settings can be used.")
    if as_json:
        print_json({"usable": True})


@config.command(
    name="set",
    short_help="Set settings in the settings file.",
    epilog="""
\b
Examples:
  applctl config set CHROMIUM_WORKERS=4 SHUTDOWN_GRACE=60
  applctl config set APPLIANCE_TOKEN        # asks for it, so that no history knows it
""",
)
@click.argument("assignments", metavar="NAME=VALUE...", nargs=-1, required=True)
@json_option
def set_(assignments: tuple[str, ...], as_json: bool) -> None:
    """Set settings in the settings file. What else is in there stays, comments too.

    All of them are set or, if they are wrong, none. NAME alone asks for the value.
    """
    values = {}
    for assignment in assignments:
        name, given, value = assignment.partition("=")
        values[name.upper()] = value if given else click.prompt(name.upper(), hide_input=True, err=True)
    _change(values, as_json)


@config.command(
    short_help="Take settings out of the settings file.",
    epilog="""
\b
Example:
  applctl config unset CHROMIUM_WORKERS
""",
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def unset(names: tuple[str, ...], as_json: bool) -> None:
    """Take settings out of the settings file, so that their defaults count."""
    _change({name.upper(): None for name in names}, as_json)


def _change(values: Mapping[str, str | None], as_json: bool) -> None:
    file, out = settings_file.change(values), console(as_json)
    for name in values:
        if name in os.environ:
            out.print(f"Warning: {name} is set in the environment, too, and that counts.", markup=False)
    out.print(f"{file} is changed. `applctl restart` makes it so.", markup=False)
    if as_json:
        print_json({"file": file, "changed": list(values)})


def _print(settings: list[Setting]) -> None:
    """Print each setting as one would write it, where it comes from, and below that what it does."""
    out = console()
    for setting in settings:
        value = configuration.as_text(setting.value)
        style = "" if setting.source == "default" else "bold"
        out.print(Text.assemble((f"{setting.name}={value}", style), (f"  ({setting.source})", "dim")))
        out.print(_paragraph(setting.description, out.width), markup=False)
    out.print(f"\nSettings file: {configuration.settings_file()}", markup=False)


def _paragraph(text: str, width: int) -> str:
    indent = 4 * " "
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def explain(settings: Settings | None) -> list[Setting]:
    """Give all settings with their sources, passwords masked; None for settings that are wrong somewhere.

    Then the values are the text that was set, and None for defaults.
    """
    values = settings.model_dump(mode="json") if settings else {}
    explained = []
    for name, field in Settings.model_fields.items():
        source, text = _source(name)
        value = values[name] if settings else text
        if name in ("appliance_token", "redis_password"):
            value = "***" if text else None
        explained.append(Setting(name.upper(), mask(value), source, field.description or ""))
    return explained


def _source(name: str) -> tuple[str, str | None]:
    """Give where a setting comes from and its text there; an empty one is not set, and case does not matter."""
    file = dotenv_values(configuration.settings_file())
    sources: dict[str, Mapping[str, str | None]] = {"environment": os.environ, "file": file}
    for source, values in sources.items():
        for key, text in values.items():
            if key.lower() == name and text:
                return source, text
    return "default", None
