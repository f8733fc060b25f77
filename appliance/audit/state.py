"""Check that Redis agrees with itself. Pure: one look at it in, differences out."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.audit.difference import AT_ONCE_S, Difference
from appliance.audit.snapshot import Pool, Snapshot
from appliance.grid.records import SessionInfo, WorkerInfo
from appliance.grid.values import WorkerStatus
from appliance.names import BESIDE
from appliance.settings.config import Settings

_REAPED = "A proxy removes it soon. If it stays, see whether one does: applctl logs proxy"
_REPORT = "Restart Redis to set it right: applctl restart redis (running sessions go on). And please report it."


def differences(snapshot: Snapshot, settings: Settings) -> Iterator[Difference]:
    """Compare the parts of the grid's state with each other and with the time."""
    yield from _slots(snapshot)
    yield from _leases(snapshot)
    yield from _claimable(snapshot, settings)
    yield from _queues(snapshot)
    yield from _waiters(snapshot)
    yield from _standby(snapshot, settings)
    yield from _drained(snapshot)
    yield from _overdue(snapshot, settings)
    yield from _orphaned(snapshot, settings)
    yield from _stored(snapshot)


def _slots(snapshot: Snapshot) -> Iterator[Difference]:
    """Each slot is held by an active session with a lease, and no worker has more sessions than slots."""
    sessions = {session.id: session for session in snapshot.sessions}
    for worker in snapshot.workers:
        for held_by in sorted(snapshot.slots.get(worker.id, ())):
            session = sessions.get(held_by)
            if held_by not in snapshot.leases:
                wrong = "it has no lease"
            elif session is None:
                wrong = "Redis knows nothing else of it"
            elif not (session.holds_slot and session.worker == worker.id):
                wrong = f"it is {session.status}{f' on {session.worker}' if session.worker else ''}"
            else:
                continue
            text = f"session {held_by} holds a slot of worker {worker.id}, but {wrong}"
            remedy = (
                f"Nothing frees it by itself. Restart the worker, on {worker.appliance}: applctl restart {worker.name}"
            )
            yield Difference(("slot", worker.id, held_by), text, remedy)
        active = len(snapshot.slots.get(worker.id, ()))
        if active > worker.concurrency:
            text = f"worker {worker.id} has more sessions than slots: {active} of {worker.concurrency}"
            yield Difference(("too many", worker.id), text, _REPORT)


def _leases(snapshot: Snapshot) -> Iterator[Difference]:
    """Each lease belongs to an active session that holds a slot of a registered worker."""
    sessions = {session.id for session in snapshot.sessions}
    holders = {session for slots in snapshot.slots.values() for session in slots}
    for lease in sorted(snapshot.leases.keys() - sessions - holders):
        yield Difference(("lease", lease), f"there is a lease of {lease}, but no such session", _REAPED)
    for session in snapshot.sessions:
        if not session.holds_slot or session.id in snapshot.slots.get(session.worker, ()):
            continue
        unknown = "is not registered" if session.worker not in snapshot.slots else "knows nothing of it"
        text = f"session {session.id} is active on worker {session.worker}, which {unknown}"
        yield Difference(("active", session.id), text, _REPORT)


def _claimable(snapshot: Snapshot, settings: Settings) -> Iterator[Difference]:
    """A worker is claimable if it is available and has room, by its next heartbeat at the latest."""
    workers = {worker.id: worker for worker in snapshot.workers}
    for pool, claimable in snapshot.pools.items():
        for name in sorted(claimable):
            why = _not_claimable(snapshot, workers[name]) if name in workers else "is not registered"
            if why and not (name in workers and workers[name].stale):  # that one is passed over
                text = f"worker {name} counts as claimable, but {why}"
                yield Difference(("claimable", *pool, name), text, _REPORT)
    for worker in snapshot.workers:
        if worker.id not in snapshot.pools.get(_pool_of(worker), ()) and not _not_claimable(snapshot, worker):
            text = f"worker {worker.id} is available and has room, but is not claimable"
            yield Difference(("not claimable", worker.id), text, _REPORT, settings.heartbeat_interval + AT_ONCE_S)


def _not_claimable(snapshot: Snapshot, worker: WorkerInfo) -> str:
    """Return why a worker is not claimable; "" if it is."""
    if worker.status != WorkerStatus.AVAILABLE:
        return f"is {worker.status}"
    if worker.suspect:
        return "is suspect"
    if worker.stale:
        return "has missed its heartbeats"
    if worker.quota and worker.lifetime >= worker.quota:
        return "has reached its quota"
    return f"all its {worker.concurrency} slots are taken" if snapshot.taken(worker) >= worker.concurrency else ""


def _queues(snapshot: Snapshot) -> Iterator[Difference]:
    """Each place in a queue belongs to a waiting session with a deadline, and the other way round."""
    waiting = {session.id for session in snapshot.sessions if session.status == "waiting"}
    queued = {ticket for queue in snapshot.queues.values() for ticket in queue}
    for ticket in sorted(queued | snapshot.deadlines.keys()):
        if ticket not in waiting:
            text = f"{ticket} has a place in the queue, but is no waiting session"
        elif ticket not in snapshot.deadlines:
            text = f"session {ticket} waits without a deadline"
        elif ticket not in queued:
            text = f"session {ticket} waits, but has no place in the queue"
        else:
            continue
        yield Difference(("queue", ticket), text, _REPORT)


def _waiters(snapshot: Snapshot) -> Iterator[Difference]:
    """No session waits while a slot is free for it."""
    fresh = {worker.id for worker in snapshot.workers if not worker.stale}
    for (browser, minor), claimable in snapshot.pools.items():
        for queue in {(browser, minor), (browser, BESIDE * minor.endswith(BESIDE))}:
            session = _first_waiting(snapshot, queue)
            if session and claimable & fresh:
                text = f"session {session.id} waits, although worker {min(claimable & fresh)} is claimable"
                yield Difference(("waiter", session.id), text, _REPORT)


def _first_waiting(snapshot: Snapshot, queue: Pool) -> SessionInfo | None:
    """Return the first of a queue whose proxy lives and whose deadline has not passed; the others do not count."""
    sessions = {session.id: session for session in snapshot.sessions}
    for ticket in snapshot.queues.get(queue, ()):
        session = sessions.get(ticket)
        if session and _proxy_lives(snapshot, session) and snapshot.deadlines.get(ticket, 0) >= snapshot.now_ms:
            return session
    return None


def _proxy_lives(snapshot: Snapshot, session: SessionInfo) -> bool:
    return snapshot.proxies.get(session.proxy, 0) >= snapshot.now_ms


def _standby(snapshot: Snapshot, settings: Settings) -> Iterator[Difference]:
    """No worker of this appliance stands by while too few serve."""
    own = [worker for worker in snapshot.workers if worker.appliance == settings.appliance_name]
    targets = {(str(pool.browser), pool.minor): pool.workers for pool in settings.all_pools}
    for pool in sorted({_pool_of(worker) for worker in own}):
        team = [worker for worker in own if _pool_of(worker) == pool]
        serving = sum(worker.status == WorkerStatus.AVAILABLE for worker in team)
        target = targets.get(pool, targets.get((pool[0], BESIDE * pool[1].endswith(BESIDE)), 0))
        spare = [worker.id for worker in team if worker.status == WorkerStatus.STANDBY and not worker.stale]
        if spare and serving < target and settings.appliance_name not in snapshot.drained:
            text = f"worker {spare[0]} stands by, although only {serving} of {target} {pool[0]} workers serve"
            yield Difference(("standby", *pool), text, _REPORT)


def _drained(snapshot: Snapshot) -> Iterator[Difference]:
    """No worker of a drained appliance serves."""
    for worker in snapshot.workers:
        if worker.appliance in snapshot.drained and worker.status == WorkerStatus.AVAILABLE:
            text = f"worker {worker.id} is available, although its appliance is drained"
            remedy = f"Drain it: applctl workers drain {worker.id}. And please report it."
            yield Difference(("drained", worker.id), text, remedy)


def _overdue(snapshot: Snapshot, settings: Settings) -> Iterator[Difference]:
    """What is overdue is removed; after an outage of Redis, once everybody has had the time to renew."""
    limit_ms = 1000 * (max(settings.lease_ttl, settings.worker_ttl) + 3 * settings.reaper_run_interval)
    for worker in snapshot.workers:
        if snapshot.now_ms - worker.heartbeat_ms > settings.worker_ttl * 1000 + limit_ms:
            last = _ago(snapshot, worker.heartbeat_ms)
            text = f"worker {worker.id} is still registered, although its last heartbeat was {last}"
            yield Difference(("silent", worker.id), text, _REAPED)
    for session, expiry_ms in snapshot.leases.items():
        if snapshot.now_ms - expiry_ms > limit_ms:
            text = f"session {session} keeps its slot, although its lease expired {_ago(snapshot, expiry_ms)}"
            yield Difference(("expired", session), text, _REAPED)
    for session, deadline_ms in snapshot.deadlines.items():
        if snapshot.now_ms - deadline_ms > limit_ms:
            text = f"session {session} waits, although its deadline passed {_ago(snapshot, deadline_ms)}"
            yield Difference(("late", session), text, _REAPED)


def _orphaned(snapshot: Snapshot, settings: Settings) -> Iterator[Difference]:
    """Each waiting session waits in a living proxy."""
    for session in snapshot.sessions:
        if session.status == "waiting" and not _proxy_lives(snapshot, session):
            text = f"session {session.id} waits in proxy {session.proxy}, which is gone"
            yield Difference(("gone", session.id), text, _REAPED, 2 * settings.reaper_run_interval)


def _ago(snapshot: Snapshot, then_ms: float) -> str:
    return f"{(snapshot.now_ms - then_ms) / 1000:.0f} s ago"


def _stored(snapshot: Snapshot) -> Iterator[Difference]:
    """Redis keeps nothing of sessions and workers that are gone."""
    if snapshot.stored_sessions is None or snapshot.stored_slots is None:
        return
    queued = {ticket for queue in snapshot.queues.values() for ticket in queue}
    holders = {session for slots in snapshot.slots.values() for session in slots}
    for left in sorted(
        snapshot.stored_sessions - queued - holders - snapshot.leases.keys() - snapshot.deadlines.keys()
    ):
        text = f"Redis keeps session {left}, which neither waits nor holds a slot"
        yield Difference(("stored session", left), text, _REPORT)
    for left in sorted(snapshot.stored_slots - snapshot.slots.keys()):
        text = f"Redis keeps slots of worker {left}, which is not registered"
        yield Difference(("stored slots", left), text, _REPORT)


def _pool_of(worker: WorkerInfo) -> Pool:
    return worker.browser, worker.minor
