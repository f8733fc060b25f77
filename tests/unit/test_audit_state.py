"""The auditor's comparison of Redis with itself: each contradiction is named, and what is well is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.audit.machine import Listener, Part, Program, Wire
from tests.support.audited import (
    ANY,
    CLIENT_OF_TICKET,
    LATER_MS,
    MACHINE,
    NOW_MS,
    POOL,
    SESSION,
    SNAPSHOT,
    WAITING,
    WORKER,
    S,
    W,
    texts,
    waiting,
)

SPARE = "here.chromium-01.b"
ALL_IS_WELL = {
    "a worker without a quota may be given any number of sessions": replace(
        SNAPSHOT, workers=(replace(WORKER, quota=0, lifetime=500),)
    ),
    "a worker whose sessions are still being asserted is not claimable yet": replace(
        SNAPSHOT, unclaimed={W: 1}, pools={POOL: frozenset()}
    ),
    "one that misses its heartbeats is passed over until it is reaped": replace(
        SNAPSHOT, workers=(replace(WORKER, stale=True),)
    ),
    "another appliance's proxy has its own clients": waiting(
        sessions=(SESSION, replace(WAITING, proxy="there.654321")), proxies={"there.654321": LATER_MS}
    ),
    "a session waits behind one whose deadline has just passed": waiting(
        sessions=(SESSION, WAITING, replace(WAITING, id="late")),
        queues={POOL: ("late", "ticket"), ANY: ()},
        deadlines={"ticket": LATER_MS, "late": NOW_MS - 1},
        stored_sessions=frozenset({S, "ticket", "late"}),
    ),
}


@pytest.mark.parametrize("why", ALL_IS_WELL)
def test_what_looks_odd_but_is_well_is_not_named(why: str) -> None:
    clients = (Wire(20, "127.0.0.1:8080", "127.0.0.1:9002"), Wire(20, "127.0.0.1:8080", "127.0.0.1:9003"))
    here = why.startswith("a session waits")
    assert texts(ALL_IS_WELL[why], replace(MACHINE, wires=(*MACHINE.wires, *(clients if here else ())))) == []


def test_only_a_dead_proxys_ticket_at_the_head_of_the_queue_is_named() -> None:
    dead = replace(WAITING, id="dead", proxy="there.000000")
    snapshot = waiting(
        workers=(WORKER,), pools={POOL: frozenset({W})}, sessions=(SESSION, dead), queues={POOL: ("dead",), ANY: ()},
        deadlines={"dead": LATER_MS}, stored_sessions=frozenset({S, "dead"}),
    )  # fmt: skip
    assert texts(snapshot) == ["session dead waits in proxy there.000000, which is gone"]


IN_REDIS = {
    f"session ghost holds a slot of worker {W}, but it has no lease": replace(
        SNAPSHOT,
        slots={W: frozenset({S, "ghost"})},
        pools={POOL: frozenset()},
        stored_sessions=frozenset({S, "ghost"}),
    ),
    f"session ghost holds a slot of worker {W}, but Redis knows nothing else of it": replace(
        SNAPSHOT, slots={W: frozenset({S, "ghost"})}, leases={S: LATER_MS, "ghost": LATER_MS}, pools={POOL: frozenset()}
    ),
    f"session ticket holds a slot of worker {W}, but it is waiting": waiting(
        workers=(replace(WORKER, concurrency=2),),
        slots={W: frozenset({S, "ticket"})},
        leases={S: LATER_MS, "ticket": LATER_MS},
    ),
    f"worker {W} has more sessions than slots: 1 of 0": replace(
        SNAPSHOT, workers=(replace(WORKER, concurrency=0),), pools={POOL: frozenset()}
    ),
    "there is a lease of ghost, but no such session": replace(SNAPSHOT, leases={S: LATER_MS, "ghost": LATER_MS}),
    "session far is active on worker there.x, which is not registered": replace(
        SNAPSHOT,
        sessions=(SESSION, replace(SESSION, id="far", worker="there.x", proxy="there.1")),
        leases={S: LATER_MS, "far": LATER_MS},
        stored_sessions=frozenset({S, "far"}),
    ),
    f"session {S} is active on worker {W}, which knows nothing of it": replace(SNAPSHOT, slots={W: frozenset()}),
    "worker gone counts as claimable, but is not registered": replace(SNAPSHOT, pools={POOL: frozenset({W, "gone"})}),
    f"worker {W} counts as claimable, but is draining": replace(
        SNAPSHOT, workers=(replace(WORKER, status="draining"),)
    ),
    f"worker {W} counts as claimable, but is suspect": replace(SNAPSHOT, workers=(replace(WORKER, suspect=True),)),
    f"worker {W} counts as claimable, but has reached its quota": replace(
        SNAPSHOT, workers=(replace(WORKER, lifetime=50),)
    ),
    f"worker {W} counts as claimable, but all its 1 slots are taken": replace(
        SNAPSHOT, workers=(replace(WORKER, concurrency=1),)
    ),
    f"worker {W} is available and has room, but is not claimable": replace(SNAPSHOT, pools={POOL: frozenset()}),
    "ticket has a place in the queue, but is no waiting session": waiting(
        sessions=(SESSION,), stored_sessions=frozenset({S})
    ),
    "session ticket waits without a deadline": waiting(deadlines={}),
    "session ticket waits, but has no place in the queue": waiting(queues={POOL: (), ANY: ()}),
    f"session ticket waits, although worker {W} is claimable": waiting(
        workers=(WORKER,), pools={POOL: frozenset({W})}, queues={POOL: (), ANY: ("ticket",)}
    ),
    "session ticket waits in proxy here.123456, which is gone": waiting(proxies={"here.123456": NOW_MS - 1}),
    "session ticket waits, although its deadline passed 60 s ago": waiting(deadlines={"ticket": NOW_MS - 60_000}),
    f"session {S} keeps its slot, although its lease expired 60 s ago": replace(SNAPSHOT, leases={S: NOW_MS - 60_000}),
    f"worker {W} is still registered, although its last heartbeat was 60 s ago": replace(
        SNAPSHOT,
        workers=(replace(WORKER, heartbeat_ms=NOW_MS - 60_000, stale=True),),
    ),
    f"worker {SPARE} stands by, although only 0 of 1 chromium workers serve": replace(
        SNAPSHOT,
        workers=(
            replace(WORKER, status="draining"),
            replace(WORKER, id=SPARE, status="standby", pid=31, name="chromium-01"),
        ),
        slots={W: frozenset({S}), SPARE: frozenset()},
        pools={POOL: frozenset()},
    ),
    f"worker {W} is available, although its appliance is drained": replace(SNAPSHOT, drained=frozenset({"here"})),
    "Redis keeps session old, which neither waits nor holds a slot": replace(
        SNAPSHOT, stored_sessions=frozenset({S, "old"})
    ),
    "Redis keeps slots of worker old, which is not registered": replace(SNAPSHOT, stored_slots=frozenset({W, "old"})),
}


@pytest.mark.parametrize("expected", IN_REDIS)
def test_each_contradiction_in_redis_is_named_once(expected: str) -> None:
    machine, own = CLIENT_OF_TICKET, "chromium-01.b"
    if SPARE in expected:
        machine = replace(
            machine,
            programs=(*machine.programs, Program(31, 10, "worker", name="chromium-01", workspaces=frozenset({own}))),
            parts=(*machine.parts, Part(41, 31, "node", own), Part(51, 41, "chromium", own)),
            listeners=(*machine.listeners, Listener(41, "/run/grid/workers/chromium-01/b/driver.sock")),
        )
    assert texts(IN_REDIS[expected], machine) == [expected]


def test_that_all_stand_by_is_right_while_their_appliance_is_drained() -> None:
    spare = replace(WORKER, status="standby", active=0)
    idle = replace(
        SNAPSHOT, workers=(spare,), sessions=(), leases={}, slots={W: frozenset()}, pools={POOL: frozenset()}
    )
    named = [text for text in texts(replace(idle, stored_sessions=frozenset())) if "stands by" in text]
    assert named == [f"worker {W} stands by, although only 0 of 1 chromium workers serve"]
    drained = replace(idle, stored_sessions=frozenset(), drained=frozenset({"here"}))
    assert [text for text in texts(drained) if "stands by" in text] == []
