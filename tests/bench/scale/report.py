"""The benchmark's figures, as text."""

from __future__ import annotations

import statistics

from tests.bench.scale.phases import Load, Recovery

HEAD = f"""
sessions/s  active   Redis: % of a core   calls/s   in, MB/s  out, MB/s   memory, MB   claim p50   p99, ms   lag, ms
{"-" * 113}"""
LAG_MAX_S = 1.0
FULL = 0.7  # of a core: beyond that, calls begin to wait for each other


def costs(tables: dict[int, dict[str, float]]) -> str:
    """Return the cost of each kind of call, by the number of workers."""
    sizes = list(tables)
    lines = [f"{'µs of Redis, one call, at workers:':36}" + "".join(f"{size:>12,}" for size in sizes)]
    for name in tables[sizes[0]]:
        lines.append(f"  {name:34}" + "".join(f"{tables[size][name]:12,.0f}" for size in sizes))
    return "\n".join(lines)


def load(row: Load) -> str:
    """Return one rate's line, and what went wrong with its sessions."""
    redis = row.redis
    trouble = f"   {row.trouble}" if row.trouble else ""
    if not is_sound(row):
        trouble += "   the simulators did not keep up: the machine is too busy for this rate"
    return (
        f"{row.sessions_per_s:10.0f}{row.active:8}{redis['cpu'] * 100:21.1f}{redis['calls']:10.0f}"
        f"{redis['received'] / 1e6:11.2f}{redis['sent'] / 1e6:11.2f}{redis['memory'] / 1e6:13.0f}"
        f"{row.p50_ms:12.2f}{row.p99_ms:10.2f}{row.lag_s * 1000:10.0f}{trouble}"
    )


def is_sound(row: Load) -> bool:
    """Whether the sessions came as they should, and the simulators answered in time."""
    return row.sessions_per_s >= 0.9 * row.rate and row.lag_s < LAG_MAX_S


def limit(loads: list[Load]) -> str:
    """Return what a session costs beside what the grid costs idle, and where that leads."""
    idle, busiest = loads[0], ([row for row in loads if is_sound(row)] or loads)[-1]
    sizes = busiest.redis
    lines = [
        f"clients of Redis: {sizes['clients']:.0f}, {sizes['memory_of_clients'] / sizes['clients'] / 1e3:.1f} kB each; "
        f"resident memory {sizes['memory_resident'] / 1e6:.0f} MB"
    ]
    if busiest.sessions_per_s > idle.sessions_per_s:
        each_s = (busiest.redis["cpu"] - idle.redis["cpu"]) / (busiest.sessions_per_s - idle.sessions_per_s)
        lines.append(
            f"idle, the grid takes {idle.redis['cpu']:.1%} of a core; each session {each_s * 1e6:.0f} µs: "
            f"{(FULL - idle.redis['cpu']) / each_s:,.0f} sessions/s at {FULL:.0%} of a core"
        )
    return "\n".join(lines)


def handover(times_ms: list[float]) -> str:
    """Return how long a freed slot takes to a client that waits, under the last load."""
    times = statistics.quantiles(times_ms, n=100)
    return f"hand-over of a slot: p50 {times[49]:.2f} ms, p99 {times[98]:.2f} ms"


def lost_appliance(first_s: float, last_s: float, leases_s: float) -> str:
    """Return when a dead appliance was gone from the grid."""
    return (
        f"an appliance without power: its first worker gone after {first_s:.1f} s, the last after {last_s:.1f} s, "
        f"its proxy's last lease after {leases_s:.1f} s"
    )


def recovery(figures: Recovery) -> str:
    """Return how the grid came back after Redis had lost everything."""
    return (
        f"Redis killed and started empty: first claim after {figures.first_claim_s:.1f} s, "
        f"workers registered after {figures.workers_s:.1f} s, sessions known after {figures.sessions_s:.1f} s;\n"
        f"  claims meanwhile p50 {figures.p50_ms:.1f} ms, p99 {figures.p99_ms:.1f} ms, "
        f"refused: {figures.refused or 'none'}; the clients': {figures.trouble or 'no trouble'};\n"
        f"  {figures.redis_cpu_s:.1f} s of Redis' CPU, {figures.library_loads} loads of the library"
    )
