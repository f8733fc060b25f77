"""nftables' program, where there is a firewall."""

from __future__ import annotations

from appliance.machine.firewall.nft import find_nft
from appliance.machine.install.programs import Provided, ProvisionError, Say, apt_install, run_version


def provide_nft(say: Say) -> Provided:
    """Return the program; install it if it is missing. Raises ProvisionError."""
    if found := find_nft():
        return Provided("nft", str(found), run_version(found), "found")
    say("installing nftables with apt")
    reason = apt_install("nftables")
    installed = find_nft()
    if installed is None:
        raise ProvisionError(
            f"the firewall needs nftables ({reason})", "Run `apt-get install nftables` as root, or set GUARD=false."
        )
    return Provided("nft", str(installed), run_version(installed), "installed")
