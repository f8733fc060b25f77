"""What Redis knows of workers, sessions, pools and appliances; times are the grid's (`Grid.now_ms`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from appliance.grid.values import WorkerStatus
from appliance.names import Isolation, Protocol, minor_version


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker. `reason` says why it drains; "" if it does not.

    `isolation` and `channel` say what its sessions have by default, and which kind of browser; an earlier release of
    the appliance does not tell. `beside` is as in WorkerSpec.
    """

    id: str
    browser: str
    version: str
    appliance: str
    name: str
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
    isolation: str = ""
    channel: str = ""
    beside: str = ""

    @property
    def minor(self) -> str:
        """The minor of its pool."""
        return minor_version(self.version) + self.beside

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def parse(cls, fields: dict[str, str], active: int, now_ms: int) -> WorkerInfo:
        """Read a worker from its hash; `active` counts its sessions."""
        return cls(
            id=fields["id"],
            browser=fields["browser"],
            version=fields["version"],
            appliance=fields["appliance"],
            name=fields["name"],
            status=fields["status"],
            active=active,
            lifetime=int(fields["lifetime"]),
            concurrency=int(fields["concurrency"]),
            quota=int(fields["quota"]),
            started_ms=int(float(fields["started"])),
            heartbeat_ms=int(float(fields["heartbeat"])),
            pid=int(fields["pid"]),
            memory_bytes=int(fields["memory"]),
            suspect="suspect" in fields,
            stale=now_ms - float(fields["heartbeat"]) > float(fields["ttl"]),
            reason=fields.get("reason", "") if fields["status"] == WorkerStatus.DRAINING else "",
            isolation=fields.get("isolation", ""),
            channel=fields.get("channel", ""),
            beside=fields.get("beside", ""),
        )


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """Why a worker does not serve."""

    appliance: str
    name: str
    reason: str


@dataclass(slots=True)
class SessionInfo:
    """A session; `worker` is "" while it waits.

    `status` is "waiting", "active", or "kept" if it waits for its next client. `kept_as` is the name by which clients
    reconnect to it, and `kept_since_ms` when the last one went; 0 if it has one.
    `pool` is the minor of the pool in whose queue it waits.
    """

    id: str
    status: str
    browser: str
    minor: str
    worker: str
    proxy: str
    client: str
    user_agent: str
    name: str
    started_ms: int
    token: str = ""
    isolation: str = Isolation.CONTEXT
    protocol: str = Protocol.PLAYWRIGHT
    kept_as: str = ""
    kept_since_ms: int = 0
    pool: str = ""

    @property
    def holds_slot(self) -> bool:
        """Whether it is active, with a client or without one."""
        return self.status in ("active", "kept")

    @classmethod
    def parse(cls, fields: dict[str, str]) -> SessionInfo:
        """Read a session from its hash."""
        request = json.loads(fields["request"])
        return cls(
            id=request["id"],
            status="kept" if "kept" in fields else fields["status"],
            browser=request["browser"],
            minor=request["minor"],
            worker=fields["worker"],
            proxy=fields["proxy"],
            client=request["client"],
            user_agent=request["user_agent"],
            name=request["name"],
            started_ms=int(fields["started"]),
            token=request.get("token", ""),  # a proxy of an earlier version may have written it
            isolation=request.get("isolation", Isolation.CONTEXT),
            protocol=request.get("protocol", Protocol.PLAYWRIGHT),
            kept_as=request.get("kept_as", ""),
            kept_since_ms=int(fields.get("kept", 0)),
            pool=fields.get("pool", request["minor"]),
        )


@dataclass(slots=True)
class PoolCapacity:
    """The slots of the workers of one browser and Playwright version."""

    browser: str
    version: str
    workers: dict[str, int] = field(default_factory=lambda: _by_status({}))
    slots: int = 0
    active: int = 0
    free: int = 0
    waiting: int = 0

    @classmethod
    def counted(cls, browser: str, version: str, counts: dict[str, int]) -> PoolCapacity:
        """Return the capacity that `count_workers` counted in a pool."""
        return cls(browser, version, _by_status(counts), counts["slots"], counts["active"], counts["free"])


class ApplianceStatus(StrEnum):
    """The status of an appliance. One that is drained may be stopped unnoticed."""

    SERVING = "serving"
    DRAINING = "draining"
    DRAINED = "drained"
    STOPPING = "stopping"


@dataclass(slots=True)
class ApplianceInfo:
    """An appliance.

    `on_workers` counts the sessions of its workers, whichever proxy relays them. `in_proxy` counts the sessions of its
    proxy, the waiting ones too, whichever appliance's workers they have. `proxies` counts its living proxies.
    `needed_by` counts the other appliances that use the Redis on this one. `rival` is where another appliance of the
    same name is, or "". `drain_reason` is "" also if Redis has lost it.
    """

    name: str
    status: ApplianceStatus = ApplianceStatus.SERVING
    endpoint: str = ""
    address: str = ""
    versions: list[str] = field(default_factory=list)
    workers: dict[str, int] = field(default_factory=lambda: _by_status({}))
    on_workers: int = 0
    in_proxy: int = 0
    proxies: int = 0
    needed_by: int = 0
    rival: str = ""
    since_ms: int = 0
    drain_reason: str = ""

    @property
    def safe_to_stop(self) -> bool:
        """Whether it is drained, and no other appliance needs its Redis."""
        return self.status is ApplianceStatus.DRAINED and not self.needed_by

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return {**asdict(self), "safe_to_stop": self.safe_to_stop}

    @classmethod
    def parse(cls, name: str, fields: dict[str, str], counts: dict[str, Any] | None) -> ApplianceInfo:
        """Read an appliance from its hash; `counts` are those of its workers, None if it has none."""
        info = cls(
            name,
            endpoint=fields.get("endpoint", ""),
            address=fields.get("address", ""),
            in_proxy=int(fields.get("relayed", 0)),
            rival=fields.get("rival", ""),
            since_ms=int(fields.get("since", 0)),
            drain_reason=fields.get("drain_reason", ""),
        )
        versions = {fields["version"]} if "version" in fields else set()
        if counts:
            info.workers = _by_status(counts)
            info.on_workers = counts["sessions"]
            versions |= counts["versions"].keys()
        info.versions = sorted(versions)
        return info

    def set_drain_status(self, fields: dict[str, str], now_ms: int) -> None:
        """Set whether its drain is over. Just after Redis lost everything, it is not known yet who has sessions.

        A living proxy must have announced since the drain began that it has no sessions and admits none (DRAIN_NOTICE).
        """
        self.status = ApplianceStatus.DRAINING
        if "heard" not in fields or now_ms - self.since_ms < int(fields["settle_ms"]):
            return
        may_have_more = fields["heard"] != fields.get("epoch") or fields.get("admits") == "1"
        if not (self.on_workers or (self.proxies and (self.in_proxy or may_have_more))):
            self.status = ApplianceStatus.DRAINED


def _by_status(counts: dict[str, Any]) -> dict[str, int]:
    """Return the number of workers of each status."""
    return {status.value: counts.get(status, 0) for status in WorkerStatus}
