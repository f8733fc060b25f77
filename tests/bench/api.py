"""`make bench-api`: how long the REST API takes to answer for a large grid, and what that does to the relay's loop.

A real proxy on a real Redis that holds simulated workers, sessions and past sessions. Each resource is asked for some
times in turn. The loop's lag is the longest of the last minute, as the proxy's own metric has it, for each resource
alone: a session's bytes wait so long, too.
"""

from __future__ import annotations

import re
import statistics
import time
import urllib.request

import click

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.grid.values import SessionRequest, WorkerSpec, WorkerStatus
from appliance.names import Browser
from tests.bench.dashboard import AGENT, LONG_MS, proxy
from tests.support.redis_server import redis_server

SLOTS = 5
PATHS = (
    *("capacity", "pools", "workers", "sessions", "queue", "history?count=1000", "history?search=nothing"),
    *("appliances", "pressure", "events?count=1000", "sessions/{live}", "sessions/{past}", "sessions/{past}/why"),
)


def fill(grid: Grid, workers: int, sessions: int, waiting: int, past: int) -> None:
    """Register workers, let sessions have their slots and others wait, and let others have ended."""
    for number in range(workers):
        name = f"chromium-{number:03}"
        appliance = f"rack-{number % 10}"
        place = (f"{appliance}.{name}.{number:06x}", Browser.CHROMIUM, "1.65.2", appliance, name)
        spec = WorkerSpec(*place, SLOTS, 10**6, LONG_MS, 1, target=workers, status=WorkerStatus.AVAILABLE)
        grid.register_worker(spec)
    for number in range(past + sessions):
        claim(grid, f"{number:016x}")
        if number < past:
            grid.release(f"{number:016x}", "closed")
    for number in range(sessions, workers * SLOTS + waiting):
        claim(grid, f"{past + number:016x}")


def claim(grid: Grid, session: str) -> None:
    """Claim a slot, or a place in the queue."""
    labels = {"build": "4711", "branch": "main"}
    wanted = SessionRequest(
        Browser.CHROMIUM, "1.65", f"test {session}", "10.0.0.1", user_agent=AGENT, token="ci", labels=labels
    )
    grid.claim(session, wanted, proxy="rack-0.000000", lease_ms=LONG_MS, wait_ms=LONG_MS, queue_max=10**6)


def ask(port: int, path: str) -> tuple[float, int]:
    """Return how many milliseconds an answer took, and how many bytes it had."""
    started = time.perf_counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=60) as answer:
        size = len(answer.read())
    return (time.perf_counter() - started) * 1000, size


def lag_counts(port: int) -> dict[str, float]:
    """Return how often the loop was late by no more than each bound."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    found = re.findall(r'^appliance_proxy_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text, re.MULTILINE)
    return {bound: float(count) for bound, count in found}


def worst_lag_ms(before: dict[str, float], after: dict[str, float]) -> str:
    """Return the bound, in milliseconds, that all delays between two readings kept to."""
    total = after["+Inf"] - before["+Inf"]
    bound = next(bound for bound in after if after[bound] - before[bound] == total)
    return f"{float(bound) * 1000:.0f}"


@click.command()
@click.option("--workers", default=500, show_default=True)
@click.option("--sessions", default=2000, show_default=True)
@click.option("--waiting", default=50, show_default=True)
@click.option("--past", default=10_000, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="How long each resource is asked for.")
def main(workers: int, sessions: int, waiting: int, past: int, seconds: float) -> None:
    """Measure the answers for a large grid."""
    with redis_server() as url:
        grid = Grid(Store(url, "grid"))
        fill(grid, workers, sessions, waiting, past)
        with proxy(url) as (_, port):
            click.echo(f"{'resource':26}{'p50, ms':>9}{'p99, ms':>9}{'KiB':>8}{'loop late, ms at most':>24}")
            for path in PATHS:
                names = {"live": f"{past:016x}", "past": f"{past - 1:016x}"}
                asked = f"api/v1/{path.format(**names)}"
                ask(port, asked)
                before, taken, until = lag_counts(port), [], time.monotonic() + seconds
                while time.monotonic() < until:
                    taken.append(ask(port, asked))
                    time.sleep(0.05)
                times = statistics.quantiles([ms for ms, _ in taken], n=100)
                lag = worst_lag_ms(before, lag_counts(port))
                click.echo(f"{path:26}{times[49]:9.1f}{times[98]:9.1f}{taken[0][1] / 1024:8.0f}{lag:>24}")


if __name__ == "__main__":
    main()
