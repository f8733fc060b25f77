"""What callers tell the grid, and what it answers, as plain values. What Redis knows is in records.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from appliance.names import Browser, Isolation, Protocol, minor_version


class WorkerStatus(StrEnum):
    """Where a worker is in its life: only an `available` one is given sessions."""

    STANDBY = "standby"
    AVAILABLE = "available"
    DRAINING = "draining"


class DrainCause(StrEnum):
    """What made a worker drain."""

    QUOTA = "quota"  # or recycled somewhat before it: recycling.lua
    APPLIANCE = "appliance"  # which is drained
    OPERATOR = "operator"
    MEMORY = "memory"  # past its bound
    DISK = "disk"
    DRIVER = "driver"  # which had an error
    STOP = "stop"  # its process was told to stop


class CrashCause(StrEnum):
    """What crashed, or made a worker end its sessions."""

    DRIVER = "driver"
    BROWSER = "browser"
    HANG = "hang"  # driver or browser did not answer
    MEMORY = "memory"  # past its bound
    DISK = "disk"
    WORKER = "worker"  # a fault of its own process
    KILLED = "killed"  # its process ended without a word
    SILENT = "silent"  # it missed its heartbeats


class WorkerEnd(NamedTuple):
    """How workers ended: "drained", "crashed", or "failed", which has neither a minor nor a cause."""

    kind: str
    browser: str
    minor: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker says of itself when it registers.

    `version` is the Playwright version of its driver; its major.minor (`minor`) decides which clients it serves.
    `quota` is the number of sessions after which it is recycled, 0 for never. Of the workers of its pool and appliance,
    `target` take sessions and `spares` stand by. `lifetime` and `status` come from an earlier registration; a new
    worker stands by. `connections` counts its driver's when it registers again: if Redis has lost their sessions, they
    count as active for `settle_ms`, in which the proxies assert them. `run`, `drained` and `epoch` come from its
    appliance's record (appliance/machine/record.py). `isolation` is what sessions have by default, `channel` the kind
    of browser. `beside` is BESIDE if its pool takes only the sessions with isolation=browser of the pool beside it.
    """

    id: str
    browser: Browser
    version: str
    appliance: str
    name: str
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
    epoch: int = 0
    isolation: str = ""
    channel: str = ""
    beside: str = ""

    @property
    def minor(self) -> str:
        """The part of the version that clients must share, "1.65" of "1.65.2"; "1.65/browser" in a pool beside."""
        return minor_version(self.version) + self.beside


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What a client asks for. `minor` is "" if its User-Agent names no Playwright version.

    `token` is the name of its token, "" if it has none. `isolation` says whether it has a browser for itself.
    `kept_as` is the name by which clients reconnect to it, "" if they cannot. `labels` are its client's.
    `may_wish` says whether an appliance may get a driver for it. It ends after `timeout_s` seconds; 0: no limit of its
    own.
    """

    browser: Browser
    minor: str = ""
    name: str = ""
    client: str = ""
    user_agent: str = ""
    token: str = ""
    isolation: Isolation = Isolation.CONTEXT
    protocol: Protocol = Protocol.PLAYWRIGHT
    kept_as: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    may_wish: bool = False
    timeout_s: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """A pool that clients want and nobody has."""

    browser: Browser
    minor: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A claimed slot: the worker to dial, its appliance, and how long the claim waited for it."""

    session_id: str
    worker_id: str
    worker_name: str
    appliance: str
    waited_ms: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a proxy says of its appliance.

    `relayed` counts its sessions, the waiting ones too; `admits` says whether it still admits new ones.
    `address`, `port` and `certificate` say where its inner door is, as in Door.
    `pools` counts its workers by browser and Playwright minor. `serves_redis` says whether the grid's Redis runs on it.
    `rival` is as in Standing, once it is certain.
    """

    appliance: str
    run: str
    drained: bool
    epoch: int
    stopping: bool
    proxy: str
    endpoint: str
    address: str
    port: int
    certificate: str
    version: str
    pools: dict[tuple[Browser, str], int]
    relayed: int
    admits: bool
    serves_redis: bool
    rival: str
    settle_ms: int
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Door:
    """Where an appliance's inner door is.

    `address` is a name or an address; `certificate` is the SHA-256 of the certificate served there, in hexadecimal, ""
    without TLS.
    """

    address: str
    port: int
    certificate: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What an appliance is told when it announces itself.

    `epoch` counts the beginnings and ends of its drains. `others` counts the other appliances that serve. `rival` is
    the endpoint of another appliance with the same name, or "".
    """

    drained: bool
    others: int
    rival: str = ""
    epoch: int = 0
