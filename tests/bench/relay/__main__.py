"""`make bench-relay`: the proxy's relay beside HAProxy in TCP mode and nginx, in front of one echo server.

All run in the same minutes, in turn, in short rounds; what is printed are medians and their ratios: a
machine's noise falls on all. The proxy that is measured has core 0 to itself, the two ends share core 1.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
import psutil

from appliance.run_dir import RunDir
from appliance.settings.config import Settings
from tests.bench.relay import ends, peers
from tests.bench.relay.peers import Peer

IDLE_SESSIONS, IDLE_S = 5000, 12.0
DESCRIPTORS = 2 * IDLE_SESSIONS + 500


@dataclass(frozen=True)
class Load:
    """What the client sends: `scale` makes a message a unit of the rate that is printed."""

    title: str
    connections: int
    message_bytes: int
    unit: str = "messages/s"
    scale: float = 1.0
    tls: bool = False


LOADS = (
    Load("400 bytes, 1 connection", 1, 400),
    Load("400 bytes, 20 connections", 20, 400),
    Load("2 MB, 4 connections", 4, 2_000_000, "MB/s", 2.0),
    Load("400 bytes, 20 connections, TLS", 20, 400, tls=True),
    Load("2 MB, 4 connections, TLS", 4, 2_000_000, "MB/s", 2.0, tls=True),
)


@dataclass
class Figures:
    """One round: the median latency, the messages per second, the CPU of the proxy for one, the shares of a core."""

    latency_us: float
    rate: float
    proxy_us: float
    proxy: float
    server: float
    client: float


def measure(folder: Path, peer: Peer, load: Load, server: int, duration_ms: int) -> Figures:
    """Run one round of a load."""
    before, own = ends.cpu_s(server), ends.cpu_s(peer.pid) if peer.pid else 0.0
    started = time.perf_counter()
    said = ends.run_client(folder, "echo", peer.port, "/", load.connections, load.message_bytes, duration_ms,
                           "tls" if peer.tls else "plain")  # fmt: skip
    seconds = time.perf_counter() - started
    proxy = (ends.cpu_s(peer.pid) - own if peer.pid else 0.0) / seconds
    rate = said["messages"] / said["seconds"]
    shares = proxy, (ends.cpu_s(server) - before) / seconds, said["cpu_s"] / said["seconds"]
    return Figures(said["p50_us"], rate * load.scale, proxy / rate * 1e6, *shares)


def in_turn(folder: Path, ways: list[Peer], load: Load, server: int, rounds: int, duration_ms: int) -> None:
    """Measure a load through all ways, in alternating order, and print it."""
    figures: dict[str, list[Figures]] = defaultdict(list)
    for number in range(rounds):
        for peer in ways[:: -1 if number % 2 else 1]:
            figures[peer.name].append(measure(folder, peer, load, server, duration_ms))
    click.echo(f"\n{load.title}")
    click.echo(f"{'':12}{'p50 µs':>10}{'added':>10}{load.unit:>12}{'ratio':>8}{'noise':>8}"
               f"{'µs of proxy':>13}{'CPU: proxy':>12}{'server':>8}{'client':>8}")  # fmt: skip
    base = statistics.median(each.latency_us for each in figures[ways[0].name])
    reference = statistics.median(each.rate for each in figures[ways[1].name])
    for peer in ways:
        rows = figures[peer.name]
        latency, rate, work, proxy, server_share, client = (
            statistics.median(getattr(row, name) for row in rows) for name in Figures.__dataclass_fields__
        )
        quarters = statistics.quantiles((row.rate for row in rows), n=4)
        noise = (quarters[2] - quarters[0]) / rate
        click.echo(f"{peer.name:12}{latency:10.1f}{latency - base:10.1f}{rate:12.0f}{rate / reference:8.2f}{noise:8.0%}"
                   f"{work:13.1f}{proxy:12.0%}{server_share:8.0%}{client:8.0%}")  # fmt: skip


def connects(folder: Path, ways: list[Peer], rounds: int) -> None:
    """Measure how long a connect takes, up to the worker's 101."""
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        for peer in ways[:: -1 if number % 2 else 1]:
            times[peer.name].append(ends.run_client(folder, "connect", peer.port, "/", 50)["p50_us"])
    click.echo("\nconnect, ms (medians of 50 each)")
    for peer in ways:
        taken = statistics.median(times[peer.name]) / 1000
        click.echo(f"{peer.name:12}{taken:10.2f}   added {taken - statistics.median(times['direct']) / 1000:.2f}")


def idle(folder: Path, peer: Peer, sessions: int, seconds: float) -> None:
    """Hold idle sessions, and print what they cost the proxy."""
    assert peer.pid
    process = psutil.Process(peer.pid)
    before = process.memory_info().rss
    with ends.idle_client(folder, peer.port, "/", sessions):
        used, started = ends.cpu_s(peer.pid), time.perf_counter()
        time.sleep(seconds)
        share = (ends.cpu_s(peer.pid) - used) / (time.perf_counter() - started)
        rss = process.memory_info().rss
    click.echo(f"{peer.name:12}{rss / 1e6:6.0f} MB resident (before: {before / 1e6:.0f}), {share:.2%} of a core")


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Rounds of each load, each way.")
@click.option("--duration", default=700, show_default=True, help="Milliseconds of a round.")
@click.option("--only", default="", help="Only rows whose title contains this.")
@click.option("--sessions", default=IDLE_SESSIONS, show_default=True, help="Idle sessions.")
@click.option("--tls/--no-tls", default=True, help="Measure TLS as well.")
def main(rounds: int, duration: int, only: str, sessions: int, tls: bool) -> None:
    """Measure the relay beside HAProxy and nginx, alternating in one run."""
    if command := ends.missing():
        raise click.ClickException(f"Something that is measured is not installed. Run: {command}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-relay-")))
        ends.build(folder)
        peers.make_certificate(folder)
        backend = RunDir(folder).driver_socket(peers.WORKER)
        port, server = stack.enter_context(ends.echo_server(folder, backend))
        direct = Peer("direct", port)
        haproxy = stack.enter_context(peers.haproxy(folder, backend))
        nginx = stack.enter_context(peers.nginx(folder, backend))
        grid = stack.enter_context(peers.grid(folder, sessions + 100))
        ways = {False: [direct, haproxy, nginx, grid]}
        if tls and "tls_cert" in Settings.model_fields:
            secure = stack.enter_context(peers.nginx(folder, backend, tls=True))
            ways[True] = [direct, secure, stack.enter_context(peers.grid(folder, 100, tls=True))]
        for load in LOADS:
            if only in load.title and load.tls in ways:
                in_turn(folder, ways[load.tls], load, server, rounds, duration)
        if only in "connect":
            connects(folder, [direct, haproxy, nginx, grid], rounds)
        if only in "idle":
            click.echo(f"\n{sessions} idle sessions")
            idle(folder, grid, sessions, IDLE_S)


if __name__ == "__main__":
    main()
