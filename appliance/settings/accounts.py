"""The settings of who runs what on a machine that is an appliance, and of what pages and peers may reach there."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from appliance.settings.networks import Network, Networks, network, networks, split

UIDS_NEEDED = 1200  # two for each of 200 workers of each browser, the spare ones too
_LAST_UID = 2**32 - 3  # those after it mean "no user" in chown(2) and the like
_NAME = r"^[a-z_][a-z0-9_-]{0,31}$"  # of an account, as useradd(8) recommends

Port = Annotated[int, Field(ge=1, le=65535)]
PRIVATE = tuple(
    network(one)
    for one in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),  # RFC 1918
        "100.64.0.0/10",  # RFC 6598: a provider's own
        *("0.0.0.0/8", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4"),  # RFC 6890: not the internet's
        *("fc00::/7", "fec0::/10", "64:ff9b:1::/48"),  # RFC 4193, 3879, 8215
    )
)


def _private(value: Any) -> Any:
    words = {"none": [], "all": list(PRIVATE)}
    return words[value] if isinstance(value, str) and value in words else networks(value)


class AccountSettings(BaseSettings):
    """The accounts of the processes, and the firewall around the browsers."""

    service_user: str | None = Field(
        None,
        pattern=_NAME,
        description="Account that runs Redis and the proxy. Only root can use it, together with BROWSER_USER. Default: "
        "the account that starts the appliance.",
    )
    browser_user: str | None = Field(
        None,
        pattern=_NAME,
        description="Account whose group browsers run in; each worker has its own user id (BROWSER_UIDS). Only root "
        "can use it, together with SERVICE_USER. Default: workers run as the account that starts the appliance.",
    )
    browser_uids: str = Field(
        "1879048192-2147352575",
        description="Range of user ids for workers, one for each, if BROWSER_USER is set. No account may have one of "
        "them. Default: a range that systemd and Debian leave unused.",
    )
    guard: bool = Field(
        True,
        description="If BROWSER_USER is set: a firewall (nftables) that keeps pages from this machine, its private "
        "networks and cloud metadata. `applctl firewall show` prints its rules.",
    )
    guard_inbound: bool = Field(
        True,
        description="Let the firewall also refuse connections to this machine, except to PORT, OPEN_PORTS, and what "
        "PEERS may reach.",
    )
    egress_private: Annotated[Networks, NoDecode, BeforeValidator(_private)] = Field(
        default_factory=list,
        description="Private addresses and networks that pages may reach, separated by commas; or `all`. Networks that "
        "this machine is directly connected to count as private. Default: none.",
    )
    peers: Networks = Field(
        default_factory=list,
        description="Addresses and networks of the grid's other appliances, separated by commas. Only they reach "
        "REDIS_LISTEN and are sent sessions; pages reach none of them. Default: not set.",
    )
    open_ports: Annotated[list[Port], NoDecode, BeforeValidator(split)] = Field(
        default_factory=lambda: [22],
        description="TCP ports that the firewall leaves open in addition to PORT, separated by commas. Default: 22.",
    )

    @field_validator("browser_uids")
    @classmethod
    def _range_of_uids(cls, value: str) -> str:
        found = re.fullmatch(r"(\d{1,10})-(\d{1,10})", value)
        first, last = (int(found[1]), int(found[2])) if found else (0, 0)
        if not (first > 0 and last - first + 1 >= UIDS_NEEDED and last <= _LAST_UID):
            raise ValueError(f"{value!r} is not a range of at least {UIDS_NEEDED} user ids; try 20000-59999")
        return value

    @property
    def egress_to_peers(self) -> Network | None:
        """A network in EGRESS_PRIVATE that pages cannot reach all the same, because they reach no peer."""
        vain = (a for a in self.egress_private for p in self.peers if a.version == p.version and a.subnet_of(p))  # type: ignore[arg-type]
        return next(vain, None)

    @property
    def has_firewall(self) -> bool:
        """Whether there is a firewall: without an account of their own, browsers cannot be told from other programs."""
        return self.guard and self.browser_user is not None
