"""One simulated appliance: a proxy's loops, its workers, and what supervisord does for them."""

from __future__ import annotations

from typing import Any, NoReturn

import gevent
import redis

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.settings.config import Settings
from proxy.proxy import Proxy
from tests.bench.scale.tally import Tally
from workers.drain import drain
from workers.worker import Worker, new_worker_id

LAUNCH_S = 1.0
RESPAWN_S = 1.0
MEMORY_BYTES = 300 << 20


class SimulatedWorker(Worker):
    """A worker whose driver and browser are a pause; all that it says to the grid is the real one's."""

    def __init__(self, settings: Settings, store: Store, tally: Tally) -> None:
        """Use the settings with its name, the connections that it shares, and what counts its sessions."""
        super().__init__(new_worker_id(settings), settings)
        self._store = store
        self._grid = Grid(store)
        self._tally = tally

    def connections(self) -> int:
        """Count the sessions, as the driver does."""
        return self._tally.count(self.id)

    def live(self) -> None:
        """Live from the launch turn to the removal."""
        self._take_launch_turn()
        gevent.sleep(LAUNCH_S)
        with self._register(self, lambda: MEMORY_BYTES) as registration:  # type: ignore[arg-type]  # it is its own driver
            self._serve()
            drain(self._settings, registration, self.orders, self.connections)


class Appliance:
    """A proxy and its workers, as greenlets."""

    def __init__(self, settings: Settings, tally: Tally) -> None:
        """Use the settings; nothing is connected yet."""
        self._settings = settings
        self._tally = tally
        self._store = Store(settings.effective_redis_url, settings.grid_namespace)
        self._loops: list[gevent.Greenlet[..., None]] = []
        self.proxy = Proxy(settings)
        self.is_cut = False

    def start(self) -> None:
        """Start the proxy's loops, and the workers in the pace in which they may launch."""
        self._loops = self.proxy.start_loops()
        for number in range(self._settings.processes_of(self._settings.browser_type)):
            gevent.spawn_later(number * self._settings.startup_stagger, self._keep, f"chromium-{number:02}")

    def cut(self) -> None:
        """Switch it off as a power failure does: from now on nothing of it is heard."""
        self.is_cut = True
        gevent.killall(self._loops)
        for store in (self._store, self.proxy.grid.store):
            store._ask_once = store._read_once = store.subscribe = _unreachable  # type: ignore[method-assign]

    def _keep(self, name: str) -> None:
        """Start a worker again whenever it has ended."""
        settings = self._settings.model_copy(update={"worker_name": name})
        while not self.is_cut:
            SimulatedWorker(settings, self._store, self._tally).live()
            gevent.sleep(RESPAWN_S)


def _unreachable(*_: Any) -> NoReturn:
    raise redis.ConnectionError("the appliance is switched off")
