"""`applctl guard`: the rules that keep pages from private networks, and strangers from this machine."""

from __future__ import annotations

import click
from rich.console import Console

from appliance import config
from appliance import guard as rules
from appliance.cli.connection import current_settings
from appliance.cli.output import console
from appliance.config import Settings
from appliance.errors import GuardError
from appliance.guard.machine import described
from appliance.supervision import started_settings


@click.group(
    short_help="Show, load or remove the firewall rules.",
    epilog="""
\b
Examples:
  applctl guard show
  applctl guard apply
  applctl guard remove
""",
)
def guard() -> None:
    """Keep pages from this machine, its private networks and clouds' metadata, by nftables.

    `applctl up` and `restart` load the rules before the browsers start, where BROWSER_USER is set and
    GUARD is not false. While it runs, rules that are flushed or changed are loaded again within seconds, and so are
    those that a change of the machine's networks or resolvers makes. They stay when the appliance stops, and are gone
    after a reboot.
    """


@guard.command()
def show() -> None:
    """Print the rules, as nft reads them: of an appliance that runs, those of the settings that it was started with."""
    click.echo(rules.ruleset(rules.values_of(current_settings())), nl=False)


@guard.command()
def apply() -> None:
    """Load the rules, in one step in place of those that are loaded. A changed setting counts after `restart`."""
    apply_guard(current_settings(), console())


@guard.command()
def remove() -> None:
    """Remove the rules: nothing is guarded until they are loaded again. Not while an appliance runs that has them."""
    running = started_settings(config.load())
    if running and running.is_guarded:
        raise GuardError(
            "the appliance that runs would load the rules again within seconds",
            "Stop it first (applctl down); or set GUARD=false and run `applctl restart`, then this again.",
        )
    rules.remove()
    console().print("The guard is removed.")


def apply_guard(settings: Settings, out: Console) -> None:
    """Load the rules, and say in a line what they do. Raises GuardError."""
    rules.require_unheld(settings.run_dir)
    values = rules.values_of(settings)
    rules.apply(rules.ruleset(values))
    networks = f"of private networks {described(values.allowed)} alone" if values.allowed else "no private network"
    ports = sorted({settings.port, *settings.open_ports})
    others = (
        f"from outside only TCP {', '.join(map(str, ports))} is reached"
        if values.inbound
        else "all may come from outside"
    )
    out.print(f"The guard is up: pages reach {networks}; {others}.", markup=False)
