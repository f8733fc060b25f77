"""Networks: how settings name them, and which have a meaning of their own."""

from __future__ import annotations

import ipaddress
import shlex
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def split(value: Any) -> Any:
    """Split a list that is written with commas, spaces or both, like a shell: quotes do not belong to a word."""
    if not isinstance(value, str):
        return value
    words = shlex.shlex(value, posix=True, punctuation_chars=False)
    words.whitespace += ","
    words.whitespace_split, words.commenters = True, ""
    return list(words)


def network(value: Any) -> Network:
    """Read "10.0.0.0/8" or one address; raises ValueError."""
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is neither an address nor a network like 10.0.0.0/8") from None


def networks(value: Any) -> list[Network]:
    """Read a list of addresses and networks; raises ValueError."""
    return [network(one) for one in split(value)]


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a listener at `host`.

    A name other than localhost may lead anywhere, even one that begins like a loopback address.
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Networks = Annotated[list[Network], NoDecode, BeforeValidator(networks)]

# Where clouds tell machines about themselves, their credentials among it.
METADATA = tuple(
    network(one)
    for one in (
        *("169.254.0.0/16", "fe80::/10"),  # link-local: 169.254.169.254 of AWS, Azure, Google and others
        "168.63.129.16",  # Azure's WireServer
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        *("fd00:ec2::/32", "fd20:ce::/32", "fd00:c1::/32"),  # AWS, Google, Oracle
    )
)
# Where a driver listens for its session's client certificates (workers/preload/certificates.js). Browsers may connect
# to these addresses of the machine, and get an answer only from what their own group listens on. What has no socket is
# refused, too: a SYN cookie, by which the kernel itself answers for a listener whose queue is full, shows no group.
HELPERS = network("127.128.0.0/9")
