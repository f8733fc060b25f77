"""The things that the parts of the appliance speak about, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.names import Browser, minor_version


class WorkerStatus(StrEnum):
    """Where a worker is in its life: only an `available` one is given sessions."""

    STANDBY = "standby"
    AVAILABLE = "available"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker says of itself when it registers.

    `version` is the Playwright version of its driver, of which major.minor (`minor`) decides which
    clients it serves. `quota` is the number of sessions after which it is recycled, 0 for never.
    `target` is how many workers of its pool and appliance are to take sessions; the others, `spares`, stand by.
    `lifetime` and `status` are what it remembers of an earlier registration; a new one stands by.
    `connections` are those that its driver holds when it registers again: if Redis has forgotten their
    sessions, they count as active for `settle_ms`, in which the proxies assert them.
    `run`, `drained` and `turn` are what its appliance remembers of itself (appliance/machine/record.py).
    """

    id: str
    browser: Browser
    version: str
    appliance: str
    slot: str
    concurrency: int
    quota: int
    ttl_ms: int
    pid: int
    target: int = 1
    spares: int = 0
    lifetime: int = 0
    status: WorkerStatus = WorkerStatus.STANDBY
    connections: int = 0
    settle_ms: int = 0
    run: str = ""
    drained: bool = False
    turn: int = 0

    @property
    def minor(self) -> str:
        """The part of the version that clients must share: "1.65" of "1.65.2"."""
        return minor_version(self.version)


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What a client asks for. `minor` is "" if its User-Agent names no Playwright version.

    `token` is the name of the token that let it in, "" if it came without.
    """

    browser: Browser
    minor: str = ""
    name: str = ""
    client: str = ""
    user_agent: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """A slot that was claimed: the worker to dial, by its appliance, and how long the claim waited for it."""

    session_id: str
    worker_id: str
    slot: str
    appliance: str
    waited_ms: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a proxy says of its appliance.

    `relayed` counts its sessions, the waiting ones too; `admits` says whether it still takes further ones.
    `address`, `port` and `certificate` say where its inner door is, as in Door.
    `serves_redis` says whether the grid's Redis runs on it, and `rival` is as Standing has it, if it is so for certain.
    """

    appliance: str
    run: str
    drained: bool
    turn: int
    stopping: bool
    proxy: str
    endpoint: str
    address: str
    port: int
    certificate: str
    version: str
    pools: dict[Browser, int]
    relayed: int
    admits: bool
    serves_redis: bool
    rival: str
    settle_ms: int
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Door:
    """Where an appliance lets the others of its grid in.

    `address` is a name or address; `certificate` is the SHA-256 of the certificate that it serves there, in hexadecimal
    digits, "" without TLS.
    """

    address: str
    port: int
    certificate: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What an appliance is told when it announces itself.

    `turn` counts the beginnings and ends of its drains.
    `others` counts the other appliances that serve; `rival` is the endpoint of one that goes by the same name, or "".
    """

    drained: bool
    others: int
    rival: str = ""
    turn: int = 0
