"""What is measured, each in front of the same echo server: HAProxy, nginx and the appliance's proxy.

Each runs with one thread, on the core that is the proxy's, with the defaults of its package.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.grid.values import WorkerSpec, WorkerStatus
from appliance.machine import browsers
from appliance.names import Browser
from appliance.settings import config
from tests.bench.relay.ends import PROXY_CORE, on_core
from tests.support.redis_server import redis_server
from tests.support.waiting import until

NAMESPACE = "bench"  # and the appliance's name
WORKER = f"{NAMESPACE}.echo.abcdef"
HAPROXY = """
global
    maxconn 1000
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen relay
    bind 127.0.0.1:{port}
    server echo unix@{backend}
"""
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 2000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} {tls};
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{
            proxy_pass http://unix:{backend}:;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Peer:
    """A way to the echo server: `pid` is the process between, or None."""

    name: str
    port: int
    pid: int | None = None
    tls: bool = False


def make_certificate(folder: Path) -> None:
    """Make a self-signed certificate: cert.pem and key.pem."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([*command, *names], check=True, capture_output=True)


@contextmanager
def haproxy(folder: Path, backend: Path) -> Iterator[Peer]:
    """Run HAProxy in TCP mode."""
    port = _free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, backend=backend))
    with _running(["haproxy", "-db", "-q", "-f", str(folder / "haproxy.cfg")], port) as pid:
        yield Peer("HAProxy", port, pid)


@contextmanager
def nginx(folder: Path, backend: Path, tls: bool = False) -> Iterator[Peer]:
    """Run nginx as a WebSocket proxy, or as one that ends TLS."""
    port = _free_port()
    path = folder / f"nginx-{port}.conf"
    path.write_text(NGINX.format(port=port, backend=backend, folder=folder, tls="ssl" if tls else ""))
    with _running(["nginx", "-c", str(path)], port) as pid:
        yield Peer("nginx TLS" if tls else "nginx", port, pid, tls)


@contextmanager
def grid(folder: Path, slots: int, tls: bool = False) -> Iterator[Peer]:
    """Run the proxy, with a Redis and one registered worker whose driver is the echo server."""
    port = _free_port()
    with redis_server() as url, _worker(Store(url, NAMESPACE), slots):
        environment = os.environ | {"REDIS_URL": url, "PORT": str(port), "RUN_DIR": str(folder), "LOG_LEVEL": "WARNING"}
        environment |= {"GRID_NAMESPACE": NAMESPACE, "HOST": "127.0.0.1", "APPLIANCE_NAME": NAMESPACE}
        if tls:
            environment |= {"TLS_CERT": str(folder / "cert.pem"), "TLS_KEY": str(folder / "key.pem")}
        with _running([sys.executable, "-m", "proxy"], port, environment) as pid:
            yield Peer("grid TLS" if tls else "grid", port, pid, tls)


@contextmanager
def _worker(store: Store, slots: int) -> Iterator[None]:
    """Register the echo server as a worker, and keep its heartbeat going."""
    grid, over = Grid(store), threading.Event()
    version = browsers.driver_version(config.load())
    spec = WorkerSpec(WORKER, Browser.CHROMIUM, version, NAMESPACE, "echo", slots, 0, 15_000, os.getpid(),
                      status=WorkerStatus.AVAILABLE)  # fmt: skip
    grid.register_worker(spec)

    def beat() -> None:
        while not over.wait(5):
            grid.heartbeat_worker(WORKER, 0, healthy=True)

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join()


@contextmanager
def _running(command: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[int]:
    """Run a server until it is no longer wanted; returns its process id once it listens."""
    server = subprocess.Popen(command, env=environment, preexec_fn=on_core(PROXY_CORE))
    try:
        until(lambda: _listens(port) or server.poll() is not None, f"{command[0]} listens")
        assert server.poll() is None, f"{command[0]} does not start"
        yield server.pid
    finally:
        server.terminate()
        server.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
