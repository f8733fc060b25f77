"""Does each slot have a socket, and each socket a slot? Pure: a series of looks in, differences out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from appliance.audit.difference import Difference
from appliance.audit.ledger import Ledger
from appliance.audit.machine import Machine
from appliance.audit.tally import GRACE_S, Tally, common, sessions_without_socket, sockets_without_session
from appliance.config import Settings
from appliance.models import SessionState, WorkerState

_SETTLE_S = 2 * GRACE_S
_NAMED = 10

_LEASE = "It comes free when its lease expires, within LEASE_TTL. If it does not: applctl restart redis"
_CLOSE = "See what it says: applctl logs proxy. To close all its connections: applctl restart proxy"


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment, in seconds of the monotonic clock: the machine first, then Redis."""

    at_s: float
    machine: Machine
    ledger: Ledger


def differences(looks: Sequence[Look], settings: Settings) -> Iterator[Difference]:
    """Compare the sessions that this appliance takes part in with the sockets of its proxy and its drivers."""
    for worker in looks[-1].ledger.workers:
        yield from _relayed_here(worker, looks, settings)
        if worker.appliance == settings.appliance_name:
            yield from _relayed_elsewhere(worker, looks, settings)
    yield from _relayed_to_nobody(looks)
    yield from _clients(looks, settings)


def address(worker: WorkerState) -> str:
    """Give a worker's "host:port", as sockets have it."""
    parts = urlsplit(worker.endpoint)
    return f"{parts.hostname}:{parts.port}"


def _relayed_here(worker: WorkerState, looks: Sequence[Look], settings: Settings) -> Iterator[Difference]:
    """Compare for this appliance's proxy and one worker, here or elsewhere."""
    series = [
        Tally(_active(look.ledger, worker, lambda s: _is_own(s, settings)), _dialled(look.machine, address(worker)))
        for look in looks
    ]
    if surplus := sessions_without_socket(series):
        sessions = _counted(surplus, "session", common([tally.sessions for tally in series]))
        text = f"no proxy here relays {sessions}, active on worker {worker.id}"
        yield Difference(("not relayed", worker.id), text, _LEASE, _SETTLE_S)
    if surplus := sockets_without_session(series):
        connections = _counted(surplus, "connection", common([tally.sockets for tally in series]))
        text = f"no session is known for {connections} of the proxy here to worker {worker.id}"
        yield Difference(("no session", worker.id), text, _CLOSE, _SETTLE_S)


def _relayed_elsewhere(worker: WorkerState, looks: Sequence[Look], settings: Settings) -> Iterator[Difference]:
    """Compare for a worker of this appliance and all proxies but its own."""
    series = [
        Tally(_active(look.ledger, worker, lambda s: not _is_own(s, settings)), _accepted(look.machine, worker))
        for look in looks
    ]
    if surplus := sessions_without_socket(series):
        sessions = _counted(surplus, "session", common([tally.sessions for tally in series]))
        text = f"no proxy elsewhere is connected for {sessions}, active on worker {worker.id}"
        yield Difference(("not connected", worker.id), text, _LEASE, _SETTLE_S)
    if surplus := sockets_without_session(series):
        connections = _counted(surplus, "connection", common([tally.sockets for tally in series]))
        text = f"no session is known for {connections} from elsewhere to worker {worker.id}"
        remedy = f"See who that is; to end them: applctl workers drain {worker.slot}"
        yield Difference(("unknown client", worker.id), text, remedy, _SETTLE_S)


def _relayed_to_nobody(looks: Sequence[Look]) -> Iterator[Difference]:
    """Find connections of the proxy to drivers of this machine that are registered no more."""
    machine = looks[-1].machine
    registered = {address(worker) for look in looks for worker in look.ledger.workers}
    drivers = {part.pid for part in machine.parts}
    listening = {wire.local: wire.pid for wire in machine.wires if wire.pid in drivers and _listens(wire.status)}
    for place in sorted(listening.keys() - registered):
        sockets = common([_dialled(look.machine, place) for look in looks])
        if sockets:
            text = f"the proxy is connected, from {_some(sockets)}, to process {listening[place]} at {place}"
            text += ", which is no registered worker's"
            yield Difference(("nobody", place), text, _CLOSE, _SETTLE_S)


def _clients(looks: Sequence[Look], settings: Settings) -> Iterator[Difference]:
    """Compare what needs a client, a session that waits or a connection to a worker, with the proxy's clients."""
    series = [Tally(_needing_client(look, settings), _connected(look.machine, settings)) for look in looks]
    if surplus := sessions_without_socket(series):
        needing = _counted(surplus, "session", common([tally.sessions for tally in series]))
        text = f"no client is connected for {needing}, waiting in the proxy here or relayed by it"
        yield Difference(("client",), text, _CLOSE, _SETTLE_S)


def _is_own(session: SessionState, settings: Settings) -> bool:
    """Whether it is in this appliance's proxy, whose id is "<appliance>.<6 hex digits>" (proxy/proxy.py)."""
    return session.proxy.rpartition(".")[0] == settings.appliance_name


def _active(ledger: Ledger, worker: WorkerState, counts: Callable[[SessionState], bool]) -> frozenset[str]:
    """Give a worker's active sessions, as far as they count."""
    on_worker = (s for s in ledger.sessions if (s.state, s.worker) == ("active", worker.id))
    return frozenset(session.id for session in on_worker if counts(session))


def _dialled(machine: Machine, place: str) -> frozenset[str]:
    """Give the proxy's connections to a worker's address, made or in the making, by their own addresses."""
    proxies = {program.pid for program in machine.of("proxy")}
    return frozenset(wire.local for wire in machine.wires if wire.pid in proxies and wire.remote == place)


def _accepted(machine: Machine, worker: WorkerState) -> frozenset[str]:
    """Give a driver's connections that come neither from this appliance's proxy nor from a probe by its worker."""
    known = {program.pid for program in machine.programs}
    drivers = {part.pid for part in machine.drivers(worker.pid)}
    ours = {wire.local for wire in machine.wires if wire.pid in known}
    accepted = (wire for wire in machine.wires if wire.pid in drivers and wire.local == address(worker))
    return frozenset(wire.remote for wire in accepted if _is_up(wire.status) and wire.remote not in ours)


def _needing_client(look: Look, settings: Settings) -> frozenset[str]:
    """Give the sessions that wait in the proxy, and its connections to workers, one for each that is relayed."""
    relayed = (_dialled(look.machine, address(worker)) for worker in look.ledger.workers)
    waiting = (s.id for s in look.ledger.sessions if s.state == "waiting" and _is_own(s, settings))
    return frozenset(waiting).union(*relayed)


def _connected(machine: Machine, settings: Settings) -> frozenset[str]:
    """Give the clients that are connected to the proxy."""
    proxies = {program.pid for program in machine.of("proxy")}
    port = f":{settings.port}"
    accepted = (wire for wire in machine.wires if wire.pid in proxies and wire.local.endswith(port))
    return frozenset(wire.remote for wire in accepted if _is_up(wire.status))


def _is_up(status: str) -> bool:
    return status == psutil.CONN_ESTABLISHED


def _listens(status: str) -> bool:
    return status == psutil.CONN_LISTEN


def _counted(number: int, noun: str, names: list[str]) -> str:
    """Say which: "session 3f", or "1 of the 2 sessions 3f, a0"."""
    if len(names) == 1:
        return f"{noun} {names[0]}"
    return f"{number} of the {len(names)} {noun}s {_some(names)}"


def _some(names: list[str]) -> str:
    """List names, the first of them if they are many."""
    return ", ".join([*names[:_NAMED], *(["…"] if len(names) > _NAMED else [])])
