"""A container of the image, as `docker run` makes one: by runc, with Docker's capabilities and system calls."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from typing import Any

from tests.oci import seccomp
from tests.support.waiting import until

HOME = "/var/lib/playwright-appliance"
PORT = 8080
READY_S = 120.0
STOP_S = 90.0
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Image:
    """The image, unpacked by umoci: its root, and how its containers run."""

    archive: Path
    root: Path
    runtime: dict[str, Any]  # as umoci makes it of the image
    config: dict[str, Any]  # of the image itself


@dataclass(slots=True)
class Options:
    """What `docker run` would be told. `user` is a user id; none is the image's."""

    environment: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    user: int | None = None
    read_only: bool = False
    capabilities: list[str] = field(default_factory=list)  # beside Docker's
    system_calls: dict[str, Any] = field(default_factory=seccomp.ours)
    memory_bytes: int = 0
    processors: float = 0


class Container:
    """One container; `start` starts it, `remove` ends it hard."""

    def __init__(self, folder: Path, image: Image, namespace: str, address: str, options: Options) -> None:
        """Make it in a folder of its own. It joins a network namespace, in which it has an address."""
        self.name = f"{folder.parent.name}-{folder.name}"
        self.endpoint = f"ws://{address}:{PORT}"
        self.http = f"http://{address}:{PORT}"
        self.volume = folder / "volume"
        self.volume.mkdir(parents=True)
        self.volume.chmod(0o1777)  # as in the image: an engine copies it
        self._folder, self._log = folder, folder / "log"
        self._health_check = image.config["Healthcheck"]["Test"][1:]
        self._process: subprocess.Popen[bytes] | None = None
        runtime = _configured(image, namespace, self.volume, options)
        (folder / "config.json").write_text(json.dumps(runtime))

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def start(self) -> Container:
        """Start it; returns at once."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["runc", "run", "--bundle", self._folder, self.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def await_healthy(self) -> Container:
        """Wait until the image's health check succeeds."""
        until(self._is_healthy, f"{self.name} is healthy", READY_S, every_s=0.5)
        return self

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in it, as `docker exec` does."""
        return subprocess.run(["runc", "exec", self.name, *command], capture_output=True, text=True, check=False)

    def stop(self) -> tuple[int, float]:
        """Do what `docker stop` does; returns the exit code, and the seconds that it took."""
        began = time.monotonic()
        subprocess.run(["runc", "kill", self.name, "TERM"], check=True)
        return self.await_end(), time.monotonic() - began

    def kill(self) -> None:
        """Do what `docker kill` does."""
        subprocess.run(["runc", "kill", self.name, "KILL"], check=True)
        self.await_end()

    def await_end(self) -> int:
        """Wait until it has ended; returns its exit code."""
        assert self._process
        return self._process.wait(STOP_S)

    def remove(self) -> None:
        """Remove it, whatever it does."""
        subprocess.run(["runc", "delete", "--force", self.name], capture_output=True, check=False)
        if self._process:
            self._process.wait(STOP_S)

    def _is_healthy(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log
        return self.run(*self._health_check).returncode == 0


Run = Callable[..., Container]


def _configured(image: Image, namespace: str, volume: Path, options: Options) -> dict[str, Any]:
    runtime: dict[str, Any] = json.loads(json.dumps(image.runtime))
    process = runtime["process"]
    process["terminal"] = False
    process["env"] = [*image.config["Env"], *(f"{name}={value}" for name, value in options.environment.items())]
    process["args"] = [*image.config["Entrypoint"], *(options.command or image.config["Cmd"])]
    process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": getrlimit(RLIMIT_NOFILE)[1], "soft": 1024}]
    process["noNewPrivileges"] = False
    if options.user is not None:
        process["user"] = {"uid": options.user, "gid": options.user}
    bounding = [*seccomp.CAPABILITIES, *options.capabilities]
    has = bounding if options.user == 0 else []
    process["capabilities"] = {"bounding": bounding, "permitted": has, "effective": has}
    runtime["root"] = {"path": str(image.root), "readonly": options.read_only}
    runtime["hostname"] = "grid"
    others = [mount for mount in runtime["mounts"] if mount["destination"] != HOME]
    runtime["mounts"] = [*others, _mount(HOME, "bind", str(volume), "rbind", "rw")]
    if options.read_only:
        runtime["mounts"] += [_mount(place, "tmpfs", "tmpfs", "nosuid", "nodev") for place in ("/tmp", "/run")]
    names = {"pid": {}, "ipc": {}, "uts": {}, "mount": {}, "network": {"path": f"/run/netns/{namespace}"}}
    runtime["linux"] |= {
        "namespaces": [{"type": name, **more} for name, more in names.items()],
        "seccomp": options.system_calls,
        "resources": _resources(options),
    }
    return runtime


def _mount(place: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": place, "type": kind, "source": source, "options": list(options)}


def _resources(options: Options) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if options.memory_bytes:
        found["memory"] = {"limit": options.memory_bytes}
    if options.processors:
        found["cpu"] = {"quota": int(options.processors * 100_000), "period": 100_000}
    return found
