"""What is simulated: as the command line says it, and as each process of simulators is given it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.settings import config
from appliance.settings.config import Settings

VERSION = "1.65.1"
TOKEN = "a-token-for-the-scale-benchmark"


@dataclass(frozen=True, slots=True)
class Plan:
    """A grid: `workers` on each appliance, one of them a spare; sessions last `session_s` on average.

    `interval_s` is between two heartbeats, renewals and searches, `stagger_s` between two launches of an appliance.
    """

    url: str
    folder: str
    appliances: int
    workers: int
    processes: int
    session_s: float
    concurrency: int = 5
    quota: int = 50
    stagger_s: float = 0.5
    interval_s: float = 5.0

    @property
    def all_workers(self) -> int:
        """The workers of all appliances."""
        return self.appliances * self.workers

    def settings(self, name: str) -> Settings:
        """Return the settings of one appliance: the defaults, but for the grid's size. Makes its folder."""
        run_dir = Path(self.folder) / name
        run_dir.mkdir(exist_ok=True)
        return config.load(
            redis_url=self.url,
            grid_namespace="scale",
            appliance_name=name,
            run_dir=run_dir,
            chromium_workers=self.workers - 1,
            spare_workers=1,
            max_concurrent_sessions=self.concurrency,
            max_lifetime_sessions=self.quota,
            startup_stagger=self.stagger_s,
            heartbeat_interval=self.interval_s,
            lease_renew_interval=self.interval_s,
            reaper_run_interval=self.interval_s,
        )

    def appliances_of(self, process: int) -> list[int]:
        """Return the numbers of the appliances that one of the processes simulates."""
        return list(range(process, self.appliances, self.processes))

    def dump(self) -> str:
        """Return the plan as text."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Read what `dump` gave."""
        return cls(**json.loads(text))
