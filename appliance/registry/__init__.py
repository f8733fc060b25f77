"""Workers, sessions, leases and the queue: the only code that touches the grid's state."""

from appliance.registry.appliances import Appliances
from appliance.registry.mailbox import Mailbox
from appliance.registry.reach import Reach
from appliance.registry.registry import Registry, open_registry
from appliance.registry.session import Session, hung_up
from appliance.registry.sessions import Sessions
from appliance.registry.tokens import Tokens

__all__ = ["Appliances", "Mailbox", "Reach", "Registry", "Session", "Sessions", "Tokens", "hung_up", "open_registry"]
