"""Ways around the firewall: translators, tunnels, neighbours, and rules that something takes away."""

from __future__ import annotations

import subprocess

from appliance.machine.firewall.nft import find_nft
from tests.support import machine as places
from tests.support.appliance import Appliance
from tests.support.guarded import accounts, as_root, assert_refused, grid, is_loaded, machine, reached, unattended
from tests.support.machine import Machine
from tests.support.waiting import until

__all__ = ["accounts", "grid", "machine"]

pytestmark = as_root


def test_rules_that_something_flushed_are_soon_in_force_again(machine: Machine, grid: Appliance) -> None:
    subprocess.run(machine.inside("nft", "flush", "ruleset"), check=True)
    until(lambda: is_loaded(machine), "the rules are loaded again", within_s=60)
    assert_refused(reached(machine, grid, [f"http://{places.OUTSIDE}/"]), [f"http://{places.OUTSIDE}/"])
    said = "firewall.loaded_again why='they were gone'"
    until(lambda: said in grid.log("firewall").replace('"', "'"), "it is logged")
    refused = grid.applctl("firewall", "remove", check=False)
    assert "the running appliance would load the rules again" in refused.stderr


def test_an_appliance_whose_rules_cannot_be_loaded_serves_no_sessions_until_they_are(
    machine: Machine, grid: Appliance
) -> None:
    nft = str(find_nft())
    subprocess.run(machine.inside("nft", "flush", "ruleset"), check=True)
    subprocess.run(machine.inside("mount", "--bind", "/bin/false", nft), check=True)
    try:
        until(lambda: "drained" in readiness(machine, grid), "it is not ready", within_s=60)
        until(lambda: "firewall.not_in_force" in grid.log("firewall"), "it is logged")
    finally:
        subprocess.run(machine.inside("umount", nft), check=True)
    until(lambda: is_loaded(machine), "the rules are loaded again", within_s=60)
    until(lambda: '"ready"' in readiness(machine, grid), "it is ready again", within_s=60)


def readiness(machine: Machine, grid: Appliance) -> str:
    url = f"http://{places.ADDRESS}:{grid.port}/readyz"
    return subprocess.run(machine.outside("curl", "-s", url), capture_output=True, text=True, check=True).stdout


NEIGHBOUR, NEIGHBOUR_6 = "198.51.100.9", "2001:db8:1::9"  # on a network of the machine's own that is no private one


def test_a_network_that_the_machine_is_newly_connected_to_is_soon_refused(machine: Machine, grid: Appliance) -> None:
    urls = [f"http://{NEIGHBOUR}/", f"http://[{NEIGHBOUR_6}]/"]
    for name, ends in (
        (machine.outside_name, (f"{NEIGHBOUR}/24", f"{NEIGHBOUR_6}/64")),
        (machine.name, ("198.51.100.2/24", "2001:db8:1::2/64")),
    ):
        for end in ends:
            duplicates = ["nodad"] if ":" in end else []
            add = ["ip", "-n", name, "address", "add", end, "dev", "eth0", *duplicates]
            subprocess.run(add, check=True)
    show = machine.inside("nft", "list", "table", "inet", "appliance")
    rules = lambda: subprocess.run(show, capture_output=True, text=True, check=True).stdout  # noqa: E731
    until(lambda: "198.51.100.0/24" in rules() and "2001:db8:1::/64" in rules(), "they are refused", within_s=60)
    assert_refused(reached(machine, grid, urls), urls)


def test_a_translator_or_a_tunnel_leads_to_nothing_that_is_refused(machine: Machine, grid: Appliance) -> None:
    """The outside answers at each of these addresses, as a NAT64 would, or a relay of 6to4 or Teredo."""
    private = ["64:ff9b::a9fe:a9fe", "64:ff9b::a09:1", "64:ff9b::a09:3", "64:ff9b:1::a09:1"]
    private += ["2002:a09:1::1", "2001:0:a09:1::1", "2001:db8:9::a9fe:a9fe"]
    public = "64:ff9b::cb00:7105"  # 203.0.113.5
    for address in (*private, public):
        add = ["ip", "-n", machine.outside_name, "address", "add", address, "dev", "eth0", "nodad"]
        subprocess.run(add, check=True)
    urls = [f"http://[{one}]/" for one in private]
    found = reached(machine, grid, [*urls, f"http://[{public}]/"])
    assert_refused(found, urls)
    assert found[f"http://[{public}]/"] == ["reached", "reached"]
    with unattended(grid):
        subprocess.run(machine.inside("nft", "delete", "table", "inet", "appliance"), check=True)
        assert set(map(tuple, reached(machine, grid, urls).values())) == {("reached", "reached")}
    until(lambda: is_loaded(machine), "the rules are loaded again", within_s=60)
