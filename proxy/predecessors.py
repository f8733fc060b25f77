"""The proxies that ran before this one on the same appliance: they have ended, so their slots are free.

supervisord runs one proxy per RUN_DIR. The proof that an earlier one has ended is the kernel's: it had the lock on a
file that this one has now. Another appliance that goes by the same name has a RUN_DIR of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import gevent

from appliance import logs
from appliance.grid.grid import Grid
from appliance.request_errors import StoreUnavailable
from appliance.run_dir import RunDir
from proxy.loops import RETRY_S

log = logs.get_logger()


class Predecessors:
    """The earlier proxies of one RUN_DIR whose sessions may still be in Redis."""

    def __init__(self, run_dir: Path, proxy_id: str) -> None:
        """Write this proxy's id, and read the earlier ones. If another process has the lock, none counts as ended."""
        self._proxy_id = proxy_id
        self._file = -1
        self._ids: list[str] = []
        path = RunDir(run_dir).proxies
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._ids = _parse(os.pread(self._file, 1 << 16, 0))
            self._write([*self._ids, proxy_id])
        except OSError as error:
            self.close()
            log.warning("proxy.predecessors_unknown", path=str(path), error=str(error))

    def close(self) -> None:
        """Release the lock, as the end of the process does."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def run(self, grid: Grid) -> None:
        """Release them as soon as Redis can be asked."""
        while True:
            try:
                self.release(grid)
                return
            except StoreUnavailable:
                gevent.sleep(RETRY_S)

    def release(self, grid: Grid) -> None:
        """End the sessions of all of them; raises StoreUnavailable."""
        for proxy_id in list(self._ids):
            if ended := grid.release_proxy(proxy_id):
                log.warning("proxy.released", proxy=proxy_id, sessions=ended, reason="it has ended")
            self._ids.remove(proxy_id)
        try:
            self._write([self._proxy_id])
        except OSError as error:  # the next proxy then releases them again
            log.warning("proxy.predecessors_not_written", error=str(error))

    def _write(self, ids: list[str]) -> None:
        if self._file >= 0:
            text = json.dumps(ids).encode()
            os.pwrite(self._file, text, 0)
            os.ftruncate(self._file, len(text))


def _parse(text: bytes) -> list[str]:
    try:
        ids = json.loads(text or b"[]")
    except ValueError:  # the machine may have stopped while it was written
        return []
    return [str(one) for one in ids] if isinstance(ids, list) else []
