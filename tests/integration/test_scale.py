"""The benchmark of scale, on a grid that is as small as can be."""

from __future__ import annotations

from pathlib import Path

from appliance.grid.token_table import digest_of
from tests.bench.scale.fleet import Fleet
from tests.bench.scale.phases import Phases
from tests.bench.scale.plan import TOKEN, Plan
from tests.bench.scale.probe import Probe
from tests.bench.scale.server import Server
from tests.support.waiting import until


def ends(probe: Probe) -> set[str]:
    """Return why workers have ended."""
    return {event["reason"] for event in probe.grid.events(1000) if event["event"] == "worker.ended"}


def test_a_simulated_grid_serves_and_is_whole_again_after_redis_lost_everything(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    times = {"session_s": 0.2, "stagger_s": 0.05, "interval_s": 0.2}
    plan = Plan(server.url, str(tmp_path), appliances=2, workers=3, processes=1, quota=8, **times)
    probe = Probe(plan)
    probe.grid.create_token(digest_of(TOKEN), "bench")
    try:
        with Fleet(plan) as fleet:
            phases = Phases(plan, server, fleet, probe)
            phases.start()
            load = phases.load(rate=20, seconds=0.5)
            assert load.sessions_per_s > 0
            assert not load.trouble
            until(lambda: "quota reached" in ends(probe), "a worker is recycled")
            assert not phases.lose_redis().trouble.get("too many on one worker")
    finally:
        probe.close()
        server.kill()
