"""The auditor's comparison of Redis with the machine: each difference is named, and what begins or ends is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest

from appliance.audit.auditor import compare
from appliance.audit.machine import Call, Listener, Machine, Wire
from appliance.audit.relays import Look
from appliance.audit.snapshot import Snapshot
from tests.support.audited import (
    CLIENT_OF_TICKET,
    LATER_MS,
    MACHINE,
    POOL,
    SESSION,
    SETTINGS,
    SNAPSHOT,
    SOCKET,
    WORKER,
    S,
    W,
    texts,
    waiting,
)

LISTENING = tuple(wire for wire in MACHINE.wires if wire.status == psutil.CONN_LISTEN)


def test_nothing_differs_where_all_is_well() -> None:
    assert texts() == []
    assert texts(waiting(), CLIENT_OF_TICKET) == []
    assert texts(Snapshot(), Machine()) == []


def without(pid: int) -> Machine:
    """Return the machine without a process and its sockets."""
    return Machine(
        programs=tuple(program for program in MACHINE.programs if program.pid != pid),
        parts=tuple(part for part in MACHINE.parts if part.pid != pid),
        folders=MACHINE.folders,
        wires=tuple(wire for wire in MACHINE.wires if wire.pid != pid),
        listeners=tuple(one for one in MACHINE.listeners if one.pid != pid),
        calls=tuple(call for call in MACHINE.calls if pid != call.caller),
    )


def with_program(pid: int, **changes: object) -> Machine:
    """Return the machine with one of its own processes changed."""
    return replace(MACHINE, programs=tuple(replace(p, **changes) if p.pid == pid else p for p in MACHINE.programs))


ON_THE_MACHINE: list[tuple[Machine, list[str]]] = [
    (
        without(30),
        [
            f"worker {W} is registered, but its process 30 is gone",
            "process 40 (node) belongs to no worker: nobody owns its folder chromium-00.abc",
            "process 50 (chromium) belongs to no worker: nobody owns its folder chromium-00.abc",
            "temporary folder /run/grid/workers/chromium-00/abc belongs to no worker",
        ],
    ),
    (without(40), [f"worker {W} is registered, but no driver of its listens at {SOCKET}"]),
    (without(50), [f"worker {W} is registered, but has no browser"]),
    (with_program(30, paused=True), ["process 30 (worker chromium-00) is paused"]),
    (with_program(20, paused=True), ["process 20 (proxy) is paused"]),
    (
        with_program(20, parent=1),
        ["process 20 (proxy) is not a child of this appliance's supervisord: an earlier run left it"],
    ),
    (
        replace(MACHINE, folders=frozenset({"chromium-00.abc", "chromium-00.old"})),
        ["temporary folder /run/grid/workers/chromium-00/old belongs to no worker"],
    ),
    (
        without(20),
        [f"no proxy here relays session {S}, active on worker {W}"],
    ),
    (
        replace(MACHINE, calls=(*MACHINE.calls, Call(SOCKET, "unix:700"))),
        [f"no session is known for 1 of the 2 connections unix:501, unix:700 to worker {W}"],
    ),
    (
        replace(MACHINE, wires=tuple(wire for wire in MACHINE.wires if not wire.remote.endswith(":9001"))),
        ["no client is connected for session unix:501, waiting in the proxy here or relayed by it"],
    ),
]


@pytest.mark.parametrize(("machine", "expected"), ON_THE_MACHINE, ids=lambda value: str(value)[:40])
def test_each_difference_between_redis_and_the_machine_is_named(machine: Machine, expected: list[str]) -> None:
    assert texts(machine=machine) == expected


def test_a_connection_of_the_proxy_without_a_session_is_named() -> None:
    forgotten = replace(SNAPSHOT, sessions=(), leases={}, slots={W: frozenset()}, stored_sessions=frozenset())
    assert texts(forgotten) == [f"no session is known for connection unix:501 to worker {W}"]


def test_a_connection_to_a_worker_that_is_registered_no_more_is_named() -> None:
    machine = replace(MACHINE, parts=tuple(replace(part, age_s=100.0) for part in MACHINE.parts))
    assert texts(Snapshot(), machine) == [
        "process 30 (worker chromium-00) has had a driver for 100 s, but is not registered",
        f"the proxy is connected, as unix:501, to process 40 at {SOCKET}, which is no registered worker's",
    ]


def test_a_worker_that_is_just_being_launched_is_none_of_its_business() -> None:
    assert texts(Snapshot(), replace(MACHINE, wires=LISTENING, calls=())) == []


def test_a_ticket_whose_client_is_gone_is_named() -> None:
    without_client = "no client is connected for 1 of the 2 sessions ticket, unix:501"
    assert texts(waiting()) == [f"{without_client}, waiting in the proxy here or relayed by it"]


def test_of_many_sessions_that_may_be_the_leaked_one_all_are_named() -> None:
    sessions = tuple(replace(SESSION, id=name) for name in (S, "other"))
    snapshot = replace(
        SNAPSHOT, sessions=sessions, leases={S: LATER_MS, "other": LATER_MS}, slots={W: frozenset({S, "other"})},
        pools={POOL: frozenset()}, stored_sessions=frozenset({S, "other"}),
    )  # fmt: skip
    assert texts(snapshot) == [
        f"no proxy here relays 1 of the 2 sessions other, {S}, active on worker {W}",
    ]


def test_sessions_across_appliances_are_compared_as_far_as_they_can_be_seen() -> None:
    ours_there = replace(SESSION, id="out", worker="there.x")
    theirs_here = replace(SESSION, id="in", proxy="there.654321")
    theirs_there = replace(SESSION, id="far", worker="there.x", proxy="there.654321")
    there = replace(WORKER, id="there.x", appliance="there", pid=99)
    snapshot = replace(
        SNAPSHOT,
        workers=(WORKER, there),
        sessions=(ours_there, theirs_here, theirs_there),
        leases=dict.fromkeys(("in", "out", "far"), LATER_MS),
        slots={W: frozenset({"in"}), "there.x": frozenset({"out", "far"})},
        pools={POOL: frozenset({W})},
        stored_sessions=frozenset({"in", "out", "far"}),
        stored_slots=frozenset({W, "there.x"}),
    )
    probe = Call(SOCKET, "unix:600", 30)
    assert texts(snapshot, replace(MACHINE, calls=(*MACHINE.calls, probe))) == []
    assert texts(snapshot, replace(MACHINE, calls=(probe,))) == [
        f"no proxy here relays session in, active on worker {W}"
    ]


def test_a_listener_of_a_driver_beyond_its_own_is_named() -> None:
    places = ("0.0.0.0:39265", "127.200.1.2:40000")  # the second one is for client certificates
    wires = (*MACHINE.wires, *(Wire(40, place, "", psutil.CONN_LISTEN) for place in places))
    listeners = (*MACHINE.listeners, Listener(40, "/run/grid/workers/chromium-00/abc/tmp/pw-1/browser@1.sock"))
    said = "process 40 (node), the driver of worker chromium-00, listens at"
    assert texts(machine=replace(MACHINE, wires=wires, listeners=listeners)) == [
        f"{said} 0.0.0.0:39265, which it must not",
        f"{said} {listeners[1].path}, which it must not",
    ]


def transient(make: Callable[[int], Snapshot]) -> list[str]:
    """Return the differences that stay through three looks at a grid that changes."""
    looks = [Look(float(number), MACHINE, make(number)) for number in range(3)]
    return [difference.text for difference in compare(looks, SETTINGS)]


def test_what_is_seen_in_one_look_but_not_in_the_next_is_no_difference() -> None:
    ghost = replace(SNAPSHOT, leases={S: LATER_MS, "ghost": LATER_MS})
    assert transient(lambda look: ghost) != []
    assert transient(lambda look: ghost if look < 2 else SNAPSHOT) == []
    assert transient(lambda look: SNAPSHOT if look < 2 else ghost) == []


def test_the_same_kind_of_difference_of_other_sessions_in_each_look_is_none() -> None:
    assert transient(lambda look: replace(SNAPSHOT, leases={S: LATER_MS, f"ghost-{look}": LATER_MS})) == []


def test_a_grid_that_holds_too_much_to_be_searched_is_still_compared() -> None:
    unsearched = replace(SNAPSHOT, stored_sessions=None, stored_slots=None)
    assert texts(unsearched) == []
    assert len(texts(replace(unsearched, leases={S: LATER_MS, "ghost": LATER_MS}))) == 1
