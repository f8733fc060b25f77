"""Watches appliances during a run: for how long capacity was not whole, what ran where, what the history had."""

from __future__ import annotations

import threading
import time
from collections import defaultdict

from appliance.grid.story import Story
from appliance.grid.values import WorkerStatus
from appliance.request_errors import StoreUnavailable
from tests.chaos import calm
from tests.chaos.rig import Rig

LOOK_INTERVAL_S = 0.2
ENTRIES = 100  # of the history, by far more than are added between two looks


class CapacityWatch:
    """Looks at the appliances again and again, in a thread of its own."""

    def __init__(self, rig: Rig) -> None:
        """Use the appliances; nothing is watched yet."""
        self.longest_s = 0.0
        self.browsers_sessions: set[int] = set()
        self.workers: defaultdict[str, set[str]] = defaultdict(set)  # of each session, by its name
        self.history: dict[str, Story] = {}  # by the session's id; Redis may lose what it had
        self._rig = rig
        self._state = rig.own_state()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> CapacityWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._state.store.close()

    def _run(self) -> None:
        whole_at = time.monotonic()
        while not self._stopped.wait(LOOK_INTERVAL_S):
            for member in self._rig.members:
                self.browsers_sessions |= calm.browsers_sessions(member)
            if self._is_whole():
                whole_at = time.monotonic()
            self.longest_s = max(self.longest_s, time.monotonic() - whole_at)

    def _is_whole(self) -> bool:
        try:
            workers = self._state.workers()
            for session in self._state.sessions():
                if session.worker:
                    self.workers[session.name].add(session.worker)
            self.history |= {story.id: story for story in self._state.history(count=ENTRIES)}
        except StoreUnavailable:
            return False
        available = [w for w in workers if w.status == WorkerStatus.AVAILABLE and not w.suspect and not w.stale]
        return len(available) >= self._rig.serving
