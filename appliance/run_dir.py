"""Every path below RUN_DIR. What is in each folder and whose it is: appliance/machine/folders.py."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.names import WorkerId

_SAFE = re.compile(r"[\w-]+", re.ASCII)


class RunDir:
    """The paths of one RUN_DIR; nothing needs to exist."""

    LONGEST_SOCKET = "/workers/chromium-99/123456/driver.sock"

    def __init__(self, path: Path) -> None:
        """Set the folder itself."""
        self.path = path
        self.redis_conf = path / "redis.conf"
        self.redis_socket = path / "redis.sock"
        self.tokens = path / "tokens.json"
        self.record = path / "appliance.json"
        self.proxies = path / "proxy.json"
        self.secrets = path / "secrets"
        self.compile_cache = path / "compile-cache"
        self.workers = path / "workers"
        self.pools = self.workers / "pools.json"  # what the account that starts the appliance has written, for all
        self.mcp = path / "mcp"
        self.mcp_socket = self.mcp / "mcp.sock"  # the proxy asks there for a process that drives an agent's browser
        self.mcp_browsers = self.mcp / "browsers.sock"  # and such a process asks the proxy for the browser
        self.logs = path / "log"  # supervisord's socket is here, because nobody but who started it may enter
        self.pip_environment = self.logs / "pip.json"
        self.supervisor_socket = self.logs / "supervisor.sock"
        self.supervisor_pid = self.logs / "supervisord.pid"

    def log_of(self, process: str) -> Path:
        """Return the log of a process: supervisord, proxy, redis, or a worker's name."""
        return self.logs / f"{process}.log"

    def workers_of(self, name: str) -> Path:
        """Return the folder of the workers of one name, one after another: it is theirs alone."""
        return self.workers / name

    def worker(self, worker_id: str) -> Path:
        """Return the folder of a worker; raises ValueError for an id that could name a place elsewhere."""
        parts = WorkerId.parse(worker_id)
        if not (_SAFE.fullmatch(parts.name) and _SAFE.fullmatch(parts.suffix)):
            raise ValueError(f"{worker_id!r} is not a worker's id")
        return self.workers_of(parts.name) / parts.suffix

    def driver_socket(self, worker_id: str) -> Path:
        """Return the socket to which the proxy connects for a worker; raises ValueError like `worker`."""
        return self.driver_socket_in(self.worker(worker_id))

    @staticmethod
    def driver_socket_in(worker: Path) -> Path:
        """Return the socket of the driver whose worker has this folder."""
        return worker / "driver.sock"

    @staticmethod
    def lock_in(worker: Path) -> Path:
        """Return the file that a worker has locked while it lives (workers/workspace.py)."""
        return worker / "lock"

    @staticmethod
    def worker_name_at(driver_socket: Path) -> str:
        """Return the name of the worker whose driver has this socket."""
        return driver_socket.parent.parent.name
