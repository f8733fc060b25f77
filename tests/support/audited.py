"""A look at an appliance on which all is well, for tests of the auditor to change."""

from __future__ import annotations

from dataclasses import replace

import psutil

from appliance.audit.auditor import compare
from appliance.audit.machine import Call, Listener, Machine, Part, Program, Wire
from appliance.audit.relays import Look
from appliance.audit.snapshot import Snapshot
from appliance.grid.records import SessionInfo, WorkerInfo
from appliance.settings.config import Settings

SETTINGS = Settings(appliance_name="here", run_dir="/run/grid", port=8080, chromium_workers=1)
NOW_MS, LATER_MS = 1_000_000, 1_010_000
POOL, ANY = ("chromium", "1.65"), ("chromium", "")
W, S = "here.chromium-00.abc", "session-1"
SOCKET = "/run/grid/workers/chromium-00/abc/driver.sock"

WORKER = WorkerInfo(
    id=W, browser="chromium", version="1.65.1", appliance="here",
    name="chromium-00", status="available", active=1, lifetime=1, concurrency=2, quota=50, started_ms=0,
    heartbeat_ms=NOW_MS, pid=30, memory_bytes=0, suspect=False, stale=False,
)  # fmt: skip
SESSION = SessionInfo(S, "active", "chromium", "1.65", W, "here.123456", "127.0.0.1", "", "", 0)
WAITING = replace(SESSION, id="ticket", status="waiting", worker="")
SNAPSHOT = Snapshot(
    now_ms=NOW_MS,
    workers=(WORKER,),
    sessions=(SESSION,),
    leases={S: LATER_MS},
    proxies={"here.123456": LATER_MS},
    slots={W: frozenset({S})},
    pools={POOL: frozenset({W})},
    queues={POOL: (), ANY: ()},
    stored_sessions=frozenset({S}),
    stored_slots=frozenset({W}),
)
MACHINE = Machine(
    programs=(
        Program(10, 1, "supervisord"),
        Program(20, 10, "proxy"),
        Program(30, 10, "worker", name="chromium-00", workspaces=frozenset({"chromium-00.abc"})),
    ),
    parts=(Part(40, 30, "node", "chromium-00.abc"), Part(50, 40, "chromium", "chromium-00.abc")),
    folders=frozenset({"chromium-00.abc"}),
    wires=(
        Wire(20, "127.0.0.1:8080", "", psutil.CONN_LISTEN),
        Wire(20, "127.0.0.1:8080", "127.0.0.1:9001"),
    ),
    listeners=(Listener(40, SOCKET),),
    calls=(Call(SOCKET, "unix:501", 20),),
)


def texts(snapshot: Snapshot = SNAPSHOT, machine: Machine = MACHINE, looks: int = 3) -> list[str]:
    """Return the differences that stay through some looks that are all the same."""
    series = [Look(float(number), machine, snapshot) for number in range(looks)]
    return [difference.text for difference in compare(series, SETTINGS)]


def waiting(**changes: object) -> Snapshot:
    """Return a snapshot in which a second session waits because there is no room."""
    full = replace(WORKER, concurrency=1)
    snapshot = replace(
        SNAPSHOT, workers=(full,), sessions=(SESSION, WAITING), deadlines={"ticket": LATER_MS},
        pools={POOL: frozenset()}, queues={POOL: ("ticket",), ANY: ()}, stored_sessions=frozenset({S, "ticket"}),
    )  # fmt: skip
    return replace(snapshot, **changes)


CLIENT_OF_TICKET = replace(MACHINE, wires=(*MACHINE.wires, Wire(20, "127.0.0.1:8080", "127.0.0.1:9002")))
