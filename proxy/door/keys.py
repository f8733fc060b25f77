"""The grid's key for the inner door, as one proxy knows it. It lives in Redis, and nowhere else but in memory."""

from __future__ import annotations

import secrets
import threading
import time

from appliance import logs
from appliance.grid.grid import Grid
from proxy.door import protocol

log = logs.get_logger()

KEY_BYTES = 32
ROTATE_S = 24 * 3600.0
ASK_AGAIN_S = 0.2  # so often at most Redis is asked for the sake of keys that are not known here


class Keys:
    """The key to dial with, and the accepted keys: that one and the one before it."""

    def __init__(self, grid: Grid, rotate_s: float = ROTATE_S) -> None:
        """Set the grid, and the age at which a key is replaced; nothing is read yet."""
        self._grid = grid
        self._rotate_s = rotate_s
        self._current = b""
        self._accepted: dict[str, bytes] = {}
        self._asking = threading.Lock()
        self._asked_at = 0.0

    def sync(self) -> None:
        """Learn what Redis says, bring back a key that it has lost, and replace one that is old.

        Raises StoreUnavailable.
        """
        self._asked_at = time.monotonic()
        fresh = secrets.token_hex(KEY_BYTES)
        found = [bytes.fromhex(text) for text in self._grid.door_keys(self._current.hex(), fresh, self._rotate_s)]
        if self._current and found[0] != self._current:
            log.info("door.key_changed", key=protocol.key_id(found[0]))
        self._current = found[0]
        self._accepted = {protocol.key_id(key): key for key in found}

    def current(self) -> bytes:
        """Return the key to dial with; raises StoreUnavailable if it is not known yet and Redis is away."""
        if not self._current:
            self.refresh()
        return self._current

    def find(self, key_id: str) -> bytes | None:
        """Return the key of an id, None if the grid has no such key; ask Redis for an unknown one.

        Raises StoreUnavailable.
        """
        if key_id not in self._accepted:
            self.refresh()
        return self._accepted.get(key_id)

    def refresh(self) -> None:
        """Sync now, but ask Redis at most once in ASK_AGAIN_S; calls that come meanwhile share the answer."""
        came_at = time.monotonic()
        with self._asking:
            if self._asked_at >= came_at:
                return
            time.sleep(max(0.0, self._asked_at + ASK_AGAIN_S - came_at))
            self.sync()
