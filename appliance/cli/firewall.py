"""`applctl firewall`: the rules that keep pages from private networks, and others from this machine."""

from __future__ import annotations

from appliance.cli.command import command, group
from appliance.cli.connection import current_settings
from appliance.cli.output import Output
from appliance.errors import FirewallError
from appliance.machine import firewall as rules
from appliance.machine.environment import started_settings
from appliance.machine.firewall.values import described
from appliance.settings import config
from appliance.settings.config import Settings


@group("applctl firewall show", "applctl firewall apply", "applctl firewall remove")
def firewall() -> None:
    """Show, load or remove the firewall rules.

    The rules (nftables) keep pages from this machine, its private networks and cloud metadata. `applctl up` and
    `restart` load them before the browsers start, if BROWSER_USER is set and GUARD is not false. While the appliance
    runs, rules that were flushed or changed are loaded again within seconds, also when the machine's networks or DNS
    servers change. The rules stay when the appliance stops, and are gone after a reboot.
    """


@command("applctl firewall show", of=firewall)
def show(out: Output) -> dict[str, str]:
    """Print the rules in nft's syntax.

    They follow from the settings that the appliance was started with, or would be.
    """
    text = rules.ruleset(rules.values_of(current_settings()))
    out.show(text.rstrip("\n"))
    return {"rules": text}


@command("applctl firewall apply", of=firewall)
def apply(out: Output) -> dict[str, bool]:
    """Load the rules, replacing those that are loaded.

    A changed setting applies after `applctl restart`.
    """
    apply_firewall(current_settings(), out)
    return {"loaded": True}


@command("applctl firewall remove", of=firewall)
def remove(out: Output) -> dict[str, bool]:
    """Remove the rules.

    Pages reach private networks until they are loaded again. Refused while a running appliance keeps them loaded.
    """
    running = started_settings(config.load())
    if running and running.has_firewall:
        raise FirewallError(
            "the running appliance would load the rules again within seconds",
            "Run `applctl down` first; or set GUARD=false, run `applctl restart`, and try again.",
        )
    rules.remove()
    out.say("The firewall rules are removed.")
    return {"loaded": False}


def apply_firewall(settings: Settings, out: Output) -> None:
    """Load the rules, and print what they do. Raises FirewallError."""
    rules.require_unheld(settings.run_dir)
    values = rules.values_of(settings)
    rules.apply(rules.ruleset(values))
    networks = f"only these private networks: {described(values.allowed)}" if values.allowed else "no private network"
    ports = ", ".join(map(str, sorted({settings.port, *settings.open_ports})))
    others = f"from outside, only TCP {ports} is open" if values.inbound else "all ports are open to others"
    out.say(f"The firewall rules are loaded: pages reach {networks}; {others}.")
