"""The auditor: compares what Redis says of this appliance with its sockets, processes and folders.

It reads and compares; it changes nothing, holds no lock, and asks no process of the appliance but Redis.

It does not cover what one machine cannot know: whether other appliances' workers and proxies live, and which of them
dropped a connection that is still open here. Nor does it see renderers whose browser is gone, which hide their
environment. A session is checked where its worker is, for there it has a connection to the driver's socket. Sessions
and sockets are only counted against each other.
"""

from appliance.audit.auditor import Audit, audit, audit_state
from appliance.audit.difference import Difference

__all__ = ["Audit", "Difference", "audit", "audit_state"]
