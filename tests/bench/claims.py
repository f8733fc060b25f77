"""`python -m tests.bench.claims`: what a claim costs in Redis, by the number of registered workers.

A real Redis server, the real Lua library, all bookkeeping included (leases, lifetimes, events).
Throughput: commands in pipelines, sent as bytes that were made before, so that the client is not what
is measured. Latency: one claim and one release after another, as a proxy makes them. Hand-over: from
the call that frees a slot to the moment in which the waiting client's thread goes on.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from dataclasses import replace

import click

from appliance import logs
from appliance.grid.grid import Grid
from appliance.grid.mailbox import Mailbox
from appliance.grid.sessions import Sessions
from appliance.grid.store import Store, library
from appliance.grid.values import SessionRequest, WorkerSpec, WorkerStatus
from appliance.names import Browser
from appliance.settings import config
from tests.support.redis_server import redis_server

POOL = (Browser.CHROMIUM, "1.65")
WANTED = SessionRequest(*POOL, client="127.0.0.1", user_agent="Playwright/1.65.1 (x64; debian 12) python/3.11")
BATCH = 50
LEASE_MS = 60_000


def register(grid: Grid, workers: int) -> None:
    """Register workers of all ages, whose quota is never reached in the run."""
    for number in range(workers):
        name = f"worker-{number:05}"
        spec = WorkerSpec(name, POOL[0], "1.65.1", "bench", name, 5, 10**6, 10**9, 1)
        grid.register_worker(replace(spec, target=workers, lifetime=number % 997, status=WorkerStatus.AVAILABLE))


def pairs_per_second(store: Store, pairs: int) -> tuple[float, float]:
    """Claim and release in pipelines. Returns pairs per second, and microseconds of the server per pair."""
    digest, _ = library()
    client = store._redis
    connection = client.connection_pool.get_connection()
    claim = {"proxy": "bench", "lease_ms": LEASE_MS, "wait_ms": 1000, "queue_max": 100, "browser": POOL[0].value}
    claim |= {"minor": POOL[1], "name": "", "client": WANTED.client, "user_agent": WANTED.user_agent}
    commands = []
    for number in range(BATCH):
        for name, argument in (
            ("claim", claim | {"id": f"s{number}"}),
            ("release", {"id": f"s{number}", "reason": "closed", "ended_by": "client", "traffic": "900 9000 9 99"}),
        ):
            commands.append(("FCALL", f"{name}_{digest}", 1, store.prefix, json.dumps(argument)))
    payload = connection.pack_commands(commands)
    client.config_resetstat()
    started = time.perf_counter()
    for _ in range(pairs // BATCH):
        connection.send_packed_command(payload)
        for _ in commands:
            connection.read_response()
    seconds = time.perf_counter() - started
    client.connection_pool.release(connection)
    cpu_us = client.info("commandstats")["cmdstat_fcall"]["usec_per_call"] * 2
    return pairs / seconds, cpu_us


def latencies_ms(grid: Grid, pairs: int) -> list[float]:
    """Claim and release, one after the other; returns the milliseconds of each pair."""
    taken = []
    for number in range(pairs):
        started = time.perf_counter()
        answer = grid.claim(f"l{number}", WANTED, proxy="bench", lease_ms=LEASE_MS, wait_ms=1000, queue_max=100)
        grid.release(f"l{number}", "closed")
        taken.append((time.perf_counter() - started) * 1000)
        assert answer["status"] == "active"
    return taken


def handovers_ms(grid: Grid, rounds: int) -> list[float]:
    """One slot of Firefox, one holder, one waiter: milliseconds from the release to the waiter's going on."""
    wanted = replace(WANTED, browser=Browser.FIREFOX)
    only = WorkerSpec("only", wanted.browser, "1.65.1", "bench", "only", 1, 0, 10**9, 1)
    grid.register_worker(only)
    sessions = Sessions(grid, config.load(), "handover")
    mailbox = Mailbox(grid.store, "proxy", "handover", sessions.handle)
    listener = threading.Thread(target=mailbox.run, daemon=True)
    listener.start()
    mailbox.wait_until_listening(5)
    taken: list[float] = []
    waits = threading.Event()

    def wait() -> None:
        with sessions.open(wanted, lambda _: waits.set()):
            taken.append((time.perf_counter() - released) * 1000)

    for _ in range(rounds):
        waits.clear()
        with sessions.open(wanted, lambda _: None):
            waiter = threading.Thread(target=wait)
            waiter.start()
            assert waits.wait(10), "the waiter got a slot that is not free"
            released = time.perf_counter()
        waiter.join()
    mailbox.close()
    listener.join()
    return taken


@click.command()
@click.option("--workers", multiple=True, default=(10, 1_000, 10_000), show_default=True, help="Registered workers.")
@click.option("--pairs", default=20_000, show_default=True, help="Claims with their releases, in pipelines.")
@click.option("--rounds", default=5, show_default=True, help="Rounds over all sizes, in turn; medians are printed.")
def main(workers: tuple[int, ...], pairs: int, rounds: int) -> None:
    """Measure claims and releases by the number of workers, and the hand-over of a slot."""
    logs.configure("ERROR", "text")  # a session that waits is logged
    figures: dict[int, list[tuple[float, float, float, float]]] = {size: [] for size in workers}
    with redis_server() as url:
        store = Store(url, "bench")
        grid = Grid(store)
        for _ in range(rounds):
            for size in workers:
                store.read(("FLUSHALL",))
                register(grid, size)
                rate, cpu_us = pairs_per_second(store, pairs // rounds)
                times = statistics.quantiles(latencies_ms(grid, 1000), n=100)
                figures[size].append((rate, cpu_us, times[49], times[98]))
        click.echo(f"{'workers':>8}{'pairs/s':>10}{'µs of Redis/pair':>18}{'p50, ms':>9}{'p99, ms':>9}   (medians)")
        for size, rows in figures.items():
            rate, cpu_us, p50, p99 = (statistics.median(column) for column in zip(*rows, strict=True))
            click.echo(f"{size:8}{rate:10.0f}{cpu_us:18.1f}{p50:9.3f}{p99:9.3f}")
        small, large = (statistics.median(row[1] for row in figures[size]) for size in (workers[0], workers[-1]))
        click.echo(f"cost at {workers[-1]} workers / at {workers[0]}: {large / small:.2f}")
        times = statistics.quantiles(handovers_ms(grid, 300), n=100)
        click.echo(f"hand-over of a slot: p50 {times[49]:.2f} ms, p99 {times[98]:.2f} ms")


if __name__ == "__main__":
    main()
