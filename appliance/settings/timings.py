"""The settings of how long things may take, and how often they are done."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

Seconds = Annotated[float, Field(gt=0)]
SecondsOrNever = Annotated[float, Field(ge=0)]  # 0: no limit, or never; the description says which


class TimingSettings(BaseSettings):
    """Intervals and limits, in seconds, and how many clients may wait."""

    heartbeat_interval: Seconds = Field(5, description="Seconds between a worker's heartbeats.")
    worker_ttl: Seconds = Field(15, description="Seconds without a heartbeat after which a worker counts as lost.")
    lease_renew_interval: Seconds = Field(
        5, description="Seconds after which a proxy renews the leases of its sessions."
    )
    lease_ttl: Seconds = Field(
        15, description="Seconds after which the slot of a session that is not renewed becomes free."
    )
    reaper_run_interval: Seconds = Field(5, description="Seconds between searches for lost workers and leases.")
    ping_interval: SecondsOrNever = Field(
        20,
        description="Seconds without data to a client after which it is sent a WebSocket ping, which keeps the "
        "connection open in firewalls and load balancers. 0: never.",
    )
    ping_timeout: SecondsOrNever = Field(
        300,
        description="Seconds that a client has to answer a ping before its session ends; 0: no limit. It is long "
        "because a Node.js client that is stopped at a breakpoint answers no ping. A client machine that is gone is "
        "noticed within about a minute anyway, unless a load balancer keeps its connection open.",
    )
    session_timeout: SecondsOrNever = Field(0, description="Seconds that a session may last; 0: no limit.")
    session_idle_timeout: SecondsOrNever = Field(
        0, description="Seconds that a session may last without a message in either direction; 0: no limit."
    )
    keep_max: int = Field(
        3600,
        ge=0,
        le=864_000,  # a timer of the driver's would end at once if it were set to 2^31 ms
        description="Longest time in seconds for which a client may have its session kept when it goes "
        "(?session=NAME&keep=300); 0: no session is kept.",
    )
    queue_timeout: Seconds = Field(30, description="Seconds that a client waits for a slot before it gets 503.")
    queue_max_length: int = Field(
        100, ge=0, description="Clients that may wait for one browser; the next one gets 429. 0: none may wait."
    )
    drain_timeout: Seconds = Field(
        3600,
        description="Seconds that a worker at its quota, or a drained appliance, waits for its last sessions before it "
        "ends them.",
    )
    drain_notice: float = Field(
        10,
        ge=0,
        description="Seconds for which a drained appliance still accepts sessions, for other appliances' workers, "
        "until its load balancer sees that /readyz fails. At a shutdown, half of SHUTDOWN_GRACE at most.",
    )
    history_keep: int = Field(
        10_000, ge=0, description="Past sessions whose story the grid keeps, about 1 kB each; 0: none."
    )
    history_max_age: float = Field(
        604_800,
        ge=0,
        description="Seconds for which the grid keeps the story of a past session: a week by default; 0: none.",
    )
    shutdown_grace: Seconds = Field(
        20,
        description="Seconds that running sessions have to end when the appliance or a worker stops.",
    )

    @property
    def longest_silence(self) -> float:
        """The seconds that a silence of everyone counts for at most: a third of a TTL leaves time to speak."""
        return min(self.reaper_run_interval, self.worker_ttl / 3, self.lease_ttl / 3)
