"""The things that the parts of the appliance speak about, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

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
class WorkerInfo:
    """A worker as Redis sees it; times are milliseconds of the Redis server's clock.

    `reason` says why it drains; "" if it does not.
    """

    id: str
    browser: str
    version: str
    appliance: str
    slot: str
    status: str
    active: int
    lifetime: int
    concurrency: int
    quota: int
    started_ms: int
    heartbeat_ms: int
    pid: int
    memory_bytes: int
    suspect: bool
    stale: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """Why the worker of a slot does not serve."""

    appliance: str
    slot: str
    reason: str


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


@dataclass(slots=True)
class SessionInfo:
    """A session as Redis sees it; `worker` is "" while it waits."""

    id: str
    state: str
    browser: str
    minor: str
    worker: str
    proxy: str
    client: str
    user_agent: str
    name: str
    started_ms: int
    token: str = ""


@dataclass(slots=True)
class PoolCapacity:
    """What the workers of one browser and Playwright version offer at this moment."""

    browser: str
    version: str
    workers: dict[str, int] = field(default_factory=lambda: {status.value: 0 for status in WorkerStatus})
    slots: int = 0
    active: int = 0
    free: int = 0
    waiting: int = 0

    @classmethod
    def counted(cls, browser: str, version: str, counts: dict[str, int]) -> PoolCapacity:
        """Make one of what `count_workers` counted in a pool."""
        workers = {status.value: counts[status] for status in WorkerStatus}
        return cls(browser, version, workers, counts["slots"], counts["active"], counts["free"])

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


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


class ApplianceStatus(StrEnum):
    """What an appliance does: one that is `drained` may be stopped, and nobody notices."""

    SERVING = "serving"
    DRAINING = "draining"
    DRAINED = "drained"
    STOPPING = "stopping"


@dataclass(slots=True)
class ApplianceInfo:
    """An appliance as Redis sees it; times are milliseconds of the Redis server's clock.

    `on_workers` counts the sessions of its workers, whichever proxy relays them, and `in_proxy` those of its proxy, the
    waiting ones too, whichever appliance's workers they have. `proxies` counts its proxies that live, and `needed_by`
    the other appliances, those with a proxy or a worker, that use the Redis which runs on it. `rival` is where another
    one of its name is, or "". `drain_reason` is "" also if Redis has forgotten why it is drained.
    """

    name: str
    status: ApplianceStatus = ApplianceStatus.SERVING
    endpoint: str = ""
    address: str = ""
    versions: list[str] = field(default_factory=list)
    workers: dict[str, int] = field(default_factory=lambda: {status.value: 0 for status in WorkerStatus})
    on_workers: int = 0
    in_proxy: int = 0
    proxies: int = 0
    needed_by: int = 0
    rival: str = ""
    since_ms: int = 0
    drain_reason: str = ""

    @property
    def safe_to_stop(self) -> bool:
        """Whether it is drained, and nothing runs on it: neither of its own nor of others, nor their Redis."""
        return self.status is ApplianceStatus.DRAINED and not self.needed_by

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return {**asdict(self), "safe_to_stop": self.safe_to_stop}
