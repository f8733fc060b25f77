"""The auditor: compares Redis' view of this appliance with its sockets, processes and folders.

It reads and compares; it changes nothing, holds no lock, and asks no process of the appliance but Redis.

What one machine cannot know is not covered: whether other appliances' workers and proxies live, which
of them dropped a connection that this machine has not seen end, and renderers whose browser is gone,
for they hide their environment. A session is compared where its worker is, whichever proxy its client came by: there it
has a connection to the driver's socket. Sessions are tied to sockets by their number only.
"""

from appliance.audit.auditor import Audit, audit
from appliance.audit.difference import Difference

__all__ = ["Audit", "Difference", "audit"]
