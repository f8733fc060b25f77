"""Compare the sessions with the sockets. Pure: a series of looks in, differences out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil

from appliance.audit.difference import Difference
from appliance.audit.machine import Machine
from appliance.audit.snapshot import Snapshot
from appliance.audit.tally import GRACE_S, Tally, common, sessions_without_socket, sockets_without_session
from appliance.grid.records import SessionInfo, WorkerInfo
from appliance.names import appliance_of_proxy
from appliance.settings.config import Settings

_SETTLE_S = 2 * GRACE_S
_NAMED = 10

_LEASE = "It comes free when its lease expires, within LEASE_TTL. If it does not: applctl restart redis"
_CLOSE = "See its log: applctl logs proxy. To close all its connections: applctl restart proxy"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the machine, then at Redis, and when (monotonic seconds)."""

    at_s: float
    machine: Machine
    snapshot: Snapshot


def differences(looks: Sequence[Look], settings: Settings) -> Iterator[Difference]:
    """Compare the sessions that this appliance takes part in with the sockets of its drivers and its proxy."""
    for worker in looks[-1].snapshot.workers:
        if worker.appliance == settings.appliance_name:
            yield from _connected_sessions(worker, looks, settings)
    yield from _relayed_to_nobody(looks, settings)
    yield from _clients(looks, settings)


def socket_of(worker: WorkerInfo, settings: Settings) -> str:
    """Return the path of the socket on which a worker's driver listens, "" if its id names none."""
    try:
        return str(settings.paths.driver_socket(worker.id))
    except ValueError:
        return ""


def _connected_sessions(worker: WorkerInfo, looks: Sequence[Look], settings: Settings) -> Iterator[Difference]:
    """Compare a worker of this appliance: all its sessions come through this appliance's proxy.

    A session that clients may reconnect to has two connections while it has a client, and one while it is kept. Each
    viewer of a session has one more.
    """
    place = socket_of(worker, settings)
    series = [Tally(_active(look.snapshot, worker), _calls(look.machine, place)) for look in looks]
    if surplus := sessions_without_socket(series):
        sessions = _counted(surplus, "session", common([tally.sessions for tally in series]))
        text = f"no proxy here relays {sessions}, active on worker {worker.id}"
        yield Difference(("not relayed", worker.id), text, _LEASE, _SETTLE_S)
    if surplus := sockets_without_session(series):
        connections = _counted(surplus, "connection", common([tally.sockets for tally in series]))
        text = f"no session is known for {connections} to worker {worker.id}"
        yield Difference(("no session", worker.id), text, _CLOSE, _SETTLE_S)


def _relayed_to_nobody(looks: Sequence[Look], settings: Settings) -> Iterator[Difference]:
    """No proxy is connected to a driver whose worker is not registered."""
    registered = {socket_of(worker, settings) for look in looks for worker in look.snapshot.workers}
    for listener in looks[-1].machine.listeners:
        if listener.path in registered:
            continue
        if sockets := common([_calls(look.machine, listener.path) for look in looks]):
            text = f"the proxy is connected, as {_some(sockets)}, to process {listener.pid} at {listener.path}"
            text += ", which is no registered worker's"
            yield Difference(("nobody", listener.path), text, _CLOSE, _SETTLE_S)


def _clients(looks: Sequence[Look], settings: Settings) -> Iterator[Difference]:
    """Each waiting session, and each connection to a worker, has a client that is connected to the proxy.

    A connection that holds a session for clients that reconnect needs none.
    """
    series = [
        Tally(_needing_client(look, settings), _connected(look, settings) | _held(look, settings)) for look in looks
    ]
    if surplus := sessions_without_socket(series):
        needing = _counted(surplus, "session", common([tally.sessions for tally in series]))
        text = f"no client is connected for {needing}, waiting in the proxy here or relayed by it"
        yield Difference(("client",), text, _CLOSE, _SETTLE_S)


def _is_own(session: SessionInfo, settings: Settings) -> bool:
    """Return whether a session is in this appliance's proxy."""
    return appliance_of_proxy(session.proxy) == settings.appliance_name


def _active(snapshot: Snapshot, worker: WorkerInfo) -> frozenset[str]:
    """Return a name for each connection that a worker's sessions should have."""
    active = [s for s in snapshot.sessions if s.holds_slot and s.worker == worker.id]
    clients = (f"{s.id}'s client" for s in active if s.kept_as and s.status != "kept")
    return frozenset(s.id for s in active).union(clients, snapshot.viewers.get(worker.id, ()))


def _calls(machine: Machine, place: str) -> frozenset[str]:
    """Return the connections to a driver, except those by which its own worker checks the browser."""
    workers = {program.pid for program in machine.of("worker")}
    return frozenset(call.name for call in machine.calls if call.path == place and call.caller not in workers)


def _needing_client(look: Look, settings: Settings) -> frozenset[str]:
    """Return the sessions that wait in the proxy, and its connections to drivers: one per relayed session."""
    proxies = {program.pid for program in look.machine.of("proxy")}
    relayed = (call.name for call in look.machine.calls if call.caller in proxies)
    waiting = (s.id for s in look.snapshot.sessions if s.status == "waiting" and _is_own(s, settings))
    return frozenset(waiting).union(relayed)


def _held(look: Look, settings: Settings) -> frozenset[str]:
    """Return the sessions that the proxy holds, on workers here, for clients that reconnect."""
    here = {worker.id for worker in look.snapshot.workers if worker.appliance == settings.appliance_name}
    return frozenset(s.id for s in look.snapshot.sessions if s.kept_as and _is_own(s, settings) and s.worker in here)


def _connected(look: Look, settings: Settings) -> frozenset[str]:
    """Return the clients that are connected to the proxy, agents' processes among them."""
    proxies = {program.pid for program in look.machine.of("proxy")}
    port = f":{settings.port}"
    accepted = (wire for wire in look.machine.wires if wire.pid in proxies and wire.local.endswith(port))
    agents = (call.name for call in look.machine.calls if call.path == str(settings.paths.mcp_browsers))
    return frozenset(wire.remote for wire in accepted if _is_up(wire.status)).union(agents)


def _is_up(status: str) -> bool:
    return status == psutil.CONN_ESTABLISHED


def _counted(number: int, noun: str, names: list[str]) -> str:
    """Return which they are: "session 3f", or "1 of the 2 sessions 3f, a0"."""
    if len(names) == 1:
        return f"{noun} {names[0]}"
    return f"{number} of the {len(names)} {noun}s {_some(names)}"


def _some(names: list[str]) -> str:
    """Return the names, or the first of them if they are many."""
    return ", ".join([*names[:_NAMED], *(["…"] if len(names) > _NAMED else [])])
