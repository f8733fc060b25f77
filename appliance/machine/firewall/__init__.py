"""The firewall: nftables rules that keep pages from private networks, and others from this machine.

The rules tell the browsers' account by its group, which the kernel notes in every socket (machine/accounts.py). It is
the driver's, too: `page.request` of a client is made by the driver. The rules are a table of their own, and no
other table is touched.
"""

from appliance.machine.firewall.holder import require_unheld
from appliance.machine.firewall.nft import apply, is_loaded, remove
from appliance.machine.firewall.ruleset import Inbound, Values, ruleset
from appliance.machine.firewall.values import values_of

__all__ = ["Inbound", "Values", "apply", "is_loaded", "remove", "require_unheld", "ruleset", "values_of"]
