"""The settings of who runs what on a machine that is an appliance, and of what pages and peers may reach there."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from appliance.settings.networks import Networks, network, networks, split

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
    """The accounts of the processes, and the guard of the browsers' account."""

    service_user: str | None = Field(
        None,
        pattern=_NAME,
        description="Account that Redis and the proxy run as; root sets it together with BROWSER_USER. Default: the "
        "account that starts the appliance.",
    )
    browser_user: str | None = Field(
        None,
        pattern=_NAME,
        description="Account whose group browsers have, each worker with a user id of its own (BROWSER_UIDS); root "
        "sets it together with SERVICE_USER. Default: workers are the account's that starts the appliance.",
    )
    browser_uids: str = Field(
        "1879048192-2147352575",
        description="User ids that no account has, for BROWSER_USER's workers: each has one of its own, with "
        "BROWSER_USER's group. Default: a range that systemd and Debian leave to nobody.",
    )
    guard: bool = Field(
        True,
        description="Where BROWSER_USER is set, keep its pages from this machine, its private networks and clouds' "
        "metadata, by rules of nftables: `applctl guard show`.",
    )
    guard_inbound: bool = Field(
        True,
        description="Let the guard also refuse what comes to this machine from outside, but for PORT, OPEN_PORTS and "
        "what PEERS may reach.",
    )
    egress_private: Annotated[Networks, NoDecode, BeforeValidator(_private)] = Field(
        default_factory=list,
        description="Addresses and networks that pages may reach though they are private, or this machine is directly "
        "connected to them, separated by commas; or all. Default: none.",
    )
    peers: Networks = Field(
        default_factory=list,
        description="Addresses and networks of the grid's other appliances, separated by commas: they reach "
        "REDIS_LISTEN, sessions are passed to no appliance elsewhere, and pages reach none of them. Default: not told.",
    )
    open_ports: Annotated[list[Port], NoDecode, BeforeValidator(split)] = Field(
        default_factory=lambda: [22],
        description="TCP ports that the guard leaves open to everybody beside PORT, separated by commas. Default: 22.",
    )

    @field_validator("browser_uids")
    @classmethod
    def _range_of_uids(cls, value: str) -> str:
        found = re.fullmatch(r"(\d{1,10})-(\d{1,10})", value)
        first, last = (int(found[1]), int(found[2])) if found else (0, 0)
        if not (first > 0 and last - first + 1 >= UIDS_NEEDED and last <= _LAST_UID):
            raise ValueError(f"{value!r} is no range of {UIDS_NEEDED} user ids or more, like 61184-65519")
        return value

    @property
    def is_guarded(self) -> bool:
        """Whether the guard is wanted: without an account of their own, browsers cannot be told from other programs."""
        return self.guard and self.browser_user is not None
