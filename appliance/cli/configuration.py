"""`applctl config`: every setting, its value, and where that comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click
from dotenv import dotenv_values
from rich.table import Table
from rich.text import Text

from appliance import config as configuration
from appliance.cli.output import console, json_option, print_json
from appliance.config import Settings
from appliance.errors import SettingsError
from appliance.redis_url import mask


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `applctl config` shows it; `source` is environment, file or default."""

    name: str
    value: Any
    source: str
    description: str


@click.command(
    short_help="Explain every setting.",
    epilog="""
\b
Examples:
  applctl config
  PORT=9000 applctl config          # try a setting out
  applctl config --json | jq -r '.[] | select(.source != "default") | .name'
""",
)
@json_option
def config(as_json: bool) -> None:
    """Show every setting: its value, where that comes from, and what it does.

    Passwords in URLs are masked.
    """
    try:
        settings, error = configuration.load(), None
    except SettingsError as wrong:  # shown all the same: whoever corrects them needs the descriptions
        settings, error = None, wrong
    explained = explain(settings)
    if as_json:
        print_json([asdict(setting) for setting in explained])
    else:
        _print(explained)
    for name, meant in configuration.unknown_names().items():
        advice = f"; did you mean {meant}?" if meant else ""
        console(as_json=True).print(f"Warning: {name} in the settings file is no setting{advice}", markup=False)
    if error:
        raise error


def _print(settings: list[Setting]) -> None:
    table = Table("Setting", "Value", "Source", "Description", box=None, pad_edge=False)
    for setting in settings:
        style = "" if setting.source == "default" else "bold"
        value = "" if setting.value is None else str(setting.value)
        table.add_row(setting.name, Text(value), setting.source, Text(setting.description), style=style)
    out = console()
    out.print(table, soft_wrap=False)
    out.print(f"\nSettings file: {configuration.settings_file()}", markup=False)


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
