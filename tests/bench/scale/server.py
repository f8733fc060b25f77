"""The Redis server that is measured: on TCP, as appliances reach one that they share."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import redis

from tests.support.waiting import until


class Server:
    """A Redis server of its own, which keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        """Use a folder for its working directory; it does not run yet."""
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program, "redis-server is missing: `applctl setup` installs it"
        address = ["--bind", "127.0.0.1", "--port", str(self._port), "--maxclients", "60000"]
        arguments = [*address, "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL)
        until(self.answers, "Redis answers")

    def answers(self) -> bool:
        """Say whether it does."""
        try:
            return bool(self.client().ping())
        except redis.ConnectionError:
            return False

    def kill(self) -> None:
        """End it at once, with all that it knows."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def client(self) -> redis.Redis:
        """Return a client."""
        return redis.Redis.from_url(self.url, decode_responses=True)


class Meter:
    """What a server does between `start` and `stop`, by its own account (INFO)."""

    def __init__(self, server: Server) -> None:
        """Use the server."""
        self._client = server.client()

    def start(self) -> None:
        """Begin to measure."""
        self._before = self._read()

    def stop(self) -> dict[str, float]:
        """Return the figures, per second where nothing else is said."""
        after = self._read()
        delta = {name: after[name] - self._before[name] for name in after}
        seconds = delta.pop("uptime_s")
        return {name: value / seconds for name, value in delta.items()} | self._sizes()

    def cpu_s(self) -> float:
        """Return the CPU seconds, user and system, that it has used so far."""
        info = self._client.info("cpu")
        return float(info["used_cpu_user"] + info["used_cpu_sys"])

    def loads(self) -> int:
        """Count how often it was given the Lua library."""
        return int(self._client.info("commandstats").get("cmdstat_function|load", {}).get("calls", 0))

    def _read(self) -> dict[str, float]:
        seconds, microseconds = self._client.time()
        stats, commands = self._client.info("stats"), self._client.info("commandstats")
        return {
            "uptime_s": seconds + microseconds / 1e6,
            "cpu": self.cpu_s(),
            "calls": commands.get("cmdstat_fcall", {}).get("calls", 0),
            "calls_cpu": commands.get("cmdstat_fcall", {}).get("usec", 0) / 1e6,
            "received": stats["total_net_input_bytes"],
            "sent": stats["total_net_output_bytes"],
        }

    def _sizes(self) -> dict[str, float]:
        memory: dict[str, Any] = self._client.info("memory")
        clients: dict[str, Any] = self._client.info("clients")
        return {
            "memory": memory["used_memory"],
            "memory_of_clients": memory["mem_clients_normal"],
            "memory_resident": memory["used_memory_rss"],
            "clients": clients["connected_clients"],
        }
