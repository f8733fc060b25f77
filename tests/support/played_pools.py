"""An appliance with a pool on demand, whose supervisord is played: for tests that need Redis and no browser."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from appliance.errors import SupervisorError
from appliance.grid.grid import Grid
from appliance.machine import pool_file
from appliance.machine.supervisor import ProcessInfo
from appliance.names import Browser
from appliance.pools import providing, resizing
from appliance.pools.index import Index
from appliance.pools.providing import Provider
from appliance.pools.usage import Usage
from appliance.settings import config
from appliance.settings.config import Settings
from appliance.settings.pools import Pool
from tests.support.claims import spec

WANTED = Pool(Browser.CHROMIUM, "1.64", 3, on_demand=True)
NAMES = ["chromium-01", "chromium-02", "chromium-03"]


class Supervisord:
    """The workers that supervisord runs, in a file: it outlives a keeper that is killed.

    Those of `ending` end just before they are stopped. A new one registers at once, if `grid` is given.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.states = dict.fromkeys(NAMES, "RUNNING")
        self.ending: set[str] = set()
        self.stopped: list[str] = []
        self.grid: Grid | None = None

    @property
    def states(self) -> dict[str, str]:
        states: dict[str, str] = json.loads(self._file.read_text())
        return states

    @states.setter
    def states(self, states: dict[str, str]) -> None:
        self._file.write_text(json.dumps(states))

    def processes(self) -> list[ProcessInfo]:
        return [ProcessInfo(name, "workers", state, 1, 1) for name, state in sorted(self.states.items())]

    def keep_workers(self, names: Iterable[str]) -> list[str]:
        names, before = list(names), self.states
        self.states = dict.fromkeys(names, "RUNNING") | before
        for name in set(names) - before.keys() if self.grid else ():
            self.grid.register_worker(spec(name, name=name, version="1.64.1", appliance="here", target=1))
        return sorted(before.keys() - set(names))

    def forget(self, name: str) -> None:
        """End a worker that was let go."""
        self.states = {other: state for other, state in self.states.items() if other != name}

    def stop_process(self, name: str) -> None:
        if name in self.ending:
            self.forget(name)
        if self.states.get(name) != "RUNNING":
            raise SupervisorError(f"{name} does not run")
        self.states |= {name: "STOPPING"}
        self.stopped.append(name)


@pytest.fixture
def supervisord(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Supervisord:
    played = Supervisord(tmp_path / "supervisord.json")
    for module in (resizing, providing):
        monkeypatch.setattr(module, "Supervisor", lambda _: played)
    return played


@pytest.fixture
def pool_settings(redis_url: str, tmp_path: Path, supervisord: Supervisord) -> Settings:
    """Return an appliance with a pool on demand, whose last worker is registered."""
    base = config.load(redis_url=redis_url, grid_namespace="test", appliance_name="here", run_dir=tmp_path,
                       chromium_workers=0, drivers="auto")  # fmt: skip
    settings = base.as_placed(dict.fromkeys(NAMES, WANTED))
    settings.paths.workers.mkdir()
    pool_file.write(settings)
    return settings


def provider(settings: Settings, grid: Grid, usage: Usage | None = None) -> Provider:
    return Provider(settings, grid, usage or Usage(60), Index(lambda: None))


@pytest.fixture
def registered(grid: Grid) -> Grid:
    """Return a grid that knows the pool's last worker."""
    grid.register_worker(spec("C", name=NAMES[-1], version="1.64.1", target=3))
    return grid
