"""Appliances that are one grid, each in a network namespace of its own, as machines on one switch."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.support.appliance import Appliance, free_port
from tests.support.network import Switch, inside, ip
from tests.support.redis_server import redis_server
from tests.support.waiting import until

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
PASSWORD = "redis-of-the-cluster"
REDIS_PORT = 6379
AUDIT = """
import json, sys
from pathlib import Path
from appliance.audit import audit
from appliance.grid.grid import open_grid
from appliance.settings.config import Settings
from appliance.errors import ApplianceError
from appliance.machine.environment import started_settings
for _ in sys.stdin:
    settings = started_settings(Settings(run_dir=Path(sys.argv[1])))
    try:
        with open_grid(settings) as state:
            found = [difference.text for difference in audit(settings, state).differences]
    except ApplianceError as error:
        found = [str(error)]
    print(json.dumps(found), flush=True)
"""


class Member(Appliance):
    """One of the appliances."""

    def __init__(self, switch: Switch, namespace: str, address: str, **settings: Any) -> None:
        """Start it in its namespace."""
        self._switch, self._namespace = switch, namespace
        settings = {"HOST": address, "PRIVATE_HOSTNAME": address, "ALLOW_ANONYMOUS": "true"} | settings
        self._in_network = inside(namespace)
        beginning = [*self._in_network, *settings.pop("inside", ())]
        super().__init__(self._make_folder(), address, beginning, **settings)

    def _make_folder(self) -> Path:
        """Make its RUN_DIR."""
        return Path(tempfile.mkdtemp(prefix="grid-"))

    @property
    def name(self) -> str:
        """Its name in the grid."""
        return self.env["APPLIANCE_NAME"]

    def audit(self) -> list[str]:
        """Audit it where its sockets can be seen."""
        done = subprocess.run(
            self._audit_command, env=self.env, input="\n", capture_output=True, text=True, check=False
        )
        return json.loads(done.stdout) if not done.returncode else [done.stderr]

    @property
    def _audit_command(self) -> list[str]:
        """The command that audits it once for each line that it reads."""
        return [*self._in_network, sys.executable, "-c", AUDIT, str(self.run_dir)]

    @contextmanager
    def cut_off(self, address: str, how: str = "blackhole") -> Iterator[None]:
        """Let nothing get from it to an address for as long as the block lasts.

        `how` is the type of the route (ip-route(8)), and with it the error that a connection meets at once:
        blackhole EINVAL, unreachable EHOSTUNREACH, prohibit EACCES. What comes from there gets no answer.
        """
        ip(f"-n {self._namespace} route add {how} {address}/32")
        try:
            yield
        finally:
            ip(f"-n {self._namespace} route delete {how} {address}/32")


class Cluster:
    """The appliances. The first has the Redis of all, at an address of its own, or a further machine has it."""

    def __init__(
        self,
        to_be_undone: ExitStack,
        common: dict[str, Any],
        *each: dict[str, Any],
        kind: type[Member] = Member,
        redis_is_apart: bool = False,
    ) -> None:
        """Start them, all at once; `each` are the settings in which they differ."""
        self.switch = Switch()
        to_be_undone.callback(self.switch.remove)
        self.redis_address = self.switch.address(10)
        listen = f"{self.redis_address}:{REDIS_PORT}"
        own: dict[str, Any] = {"REDIS_LISTEN": listen, "REDIS_PASSWORD": PASSWORD}
        shared: dict[str, Any] = {"REDIS_URL": f"redis://:{PASSWORD}@{listen}"}
        if redis_is_apart:
            listening = f"--bind {self.redis_address} --port {REDIS_PORT} --requirepass {PASSWORD}"
            to_be_undone.enter_context(redis_server(inside(self.switch.plug(10)), listening))
            own = shared

        def start(number: int) -> Member:
            hosts = (11 + number,) if number or redis_is_apart else (11, 10)
            namespace = self.switch.plug(*hosts)
            settings = {**common, **each[number], **(shared if number else own), "APPLIANCE_NAME": f"grid-{number + 1}"}
            return kind(self.switch, namespace, self.switch.address(11 + number), **settings)

        with ThreadPoolExecutor() as pool:
            self.members = list(pool.map(start, range(len(each))))
        to_be_undone.callback(self._stop)

    def _stop(self) -> None:
        """Stop all at once, but the one that has the Redis of all."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda member: member.stop(), self.members[1:]))
        self.members[0].stop()

    def agrees(self) -> None:
        """See to it that, on each appliance, Redis and the truth agree."""
        for member in self.members:
            differences = member.lasting_differences()
            assert not differences, f"{member.name}: {differences}"

    def addresses(self) -> list[str]:
        """Return where the proxies are."""
        return [f"{member.host}:{member.port}" for member in self.members]


class LoadBalancer:
    """HAProxy or nginx with the shipped example of its configuration, in front of a cluster."""

    def __init__(self, program: str, cluster: Cluster, folder: Path) -> None:
        """Start it, and wait until it has found an appliance that is ready."""
        example = EXAMPLES / {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}[program]
        port = free_port()
        text = example.read_text().replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        for number, address in enumerate(cluster.addresses()):
            text = text.replace(f"10.0.0.{11 + number}:8080", address)
        path = folder / example.name
        path.write_text(text)
        nginx = ["nginx", "-c", path, "-g", f"daemon off; pid {folder}/nginx.pid; error_log stderr;"]
        self._process = subprocess.Popen(["haproxy", "-db", "-q", "-f", path] if program == "haproxy" else nginx)
        self.port = port
        self.endpoint = f"ws://127.0.0.1:{port}"
        until(self._is_ready, f"{program} has found an appliance")

    def _is_ready(self) -> bool:
        try:
            return urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status == 200
        except OSError:
            return False

    def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait()
