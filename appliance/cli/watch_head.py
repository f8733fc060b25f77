"""The head of `applctl status --watch`: the appliance, the grid's pools and traffic, and this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.text import Text

from appliance.cli.output import status_text
from appliance.cli.watch_columns import bar, short_size
from appliance.cli.watch_snapshot import Snapshot
from appliance.grid.records import PoolCapacity

_WIDE_FROM = 120  # columns


def head(snapshot: Snapshot, width: int, *, ascii_only: bool) -> Iterator[Text]:
    """Return the lines of the head."""
    view = snapshot.view
    if not view.running:
        if view.changing:
            yield Text("The appliance is being started or stopped.", "bold yellow")
            return
        yield Text("The appliance is not running. Start it with `applctl up`.", "bold red")
        yield from (Text(f"An earlier run left {name}.", "yellow") for name in view.left_over)
        return
    ready = status_text("ready" if view.ready else "not ready")
    yield Text.assemble((f"{view.settings.appliance_name}  {view.settings.endpoint}", "bold"), "  ", ready)
    yield from (Text(f"Problem: {problem}", "yellow") for problem in view.problems)
    is_wide = width >= _WIDE_FROM
    yield from (_pool(pool, 40 if is_wide else 10, ascii_only=ascii_only) for pool in view.pools)
    yield _grid(snapshot)
    yield _machine(snapshot, is_wide=is_wide, ascii_only=ascii_only)


def _pool(pool: PoolCapacity, size: int, *, ascii_only: bool) -> Text:
    workers = ", ".join(f"{count} {status}" for status, count in pool.workers.items() if count)
    return Text.assemble(
        f"{f'{pool.browser} {pool.version}':14}",
        *(bar(pool.active, pool.slots, size, ascii_only=ascii_only), f" {pool.active}/{pool.slots} slots"),
        (f"  {pool.waiting} waiting" if pool.waiting else "", "yellow"),
        (f"  {workers}", "dim"),
    )


def _grid(snapshot: Snapshot) -> Text:
    """Return what the whole grid does."""
    sessions, appliances = snapshot.view.sessions, len(snapshot.appliances)
    waiting = sum(session.status == "waiting" for session in sessions)
    from_clients = sum(rate.from_client for rate in snapshot.rates.values())
    to_clients = sum(rate.to_client for rate in snapshot.rates.values())
    return Text.assemble(
        f"{'Grid':14}",
        f"{appliances} appliances, " if appliances > 1 else "",
        f"{len(sessions) - waiting} sessions, ",
        (f"{waiting} waiting", "yellow" if waiting else ""),
        f", {short_size(from_clients)}B/s in, {short_size(to_clients)}B/s out",
    )


def _machine(snapshot: Snapshot, *, is_wide: bool, ascii_only: bool) -> Text:
    """Return how busy this machine is, and those of its processes that are no workers."""
    size = 10 if is_wide else 5
    used, total = snapshot.memory_used, snapshot.memory_total
    workers = set(snapshot.view.settings.worker_names)
    others = [process for process in snapshot.view.processes if process.name not in workers]
    running = ", ".join(process.name for process in others if process.started and is_wide)
    return Text.assemble(
        f"{'This machine':14}CPU ",
        *(bar(round(snapshot.cpu), 100, size, ascii_only=ascii_only), f" {snapshot.cpu:.0f} %   Memory "),
        *(bar(used, total, size, ascii_only=ascii_only), f" {used / 2**30:.1f}/{total / 2**30:.1f} GiB   "),
        f"load {os.getloadavg()[0]:.1f}   ",
        (f"{running} running" if running else "", "dim"),
        *(Text.assemble("  ", one.name, " ", status_text(one.state.lower())) for one in others if not one.started),
    )
