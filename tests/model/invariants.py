"""What must hold in the grid at any moment."""

from __future__ import annotations

from tests.model.model import TTL_MS, Model, Worker

CROWDED, BLOCKED, SUSPECT = 2**50, 2**52, 2**52 + 2**51  # of scores, as in pools.lua


def check(model: Model) -> None:
    _check_sessions(model)
    _check_wishes(model)
    _check_pools(model)
    _check_teams(model)


def _check_sessions(model: Model) -> None:
    for worker in model.workers.values():
        assert worker.status != "available" or worker.remaining >= 1
    assert {i: w.id for w in model.workers.values() for i in w.sessions} == model.active()
    assert model.zset("leases").keys() == model.active().keys()
    queues = {(*name[:2], *(name[2:] or [""])): queue for name, queue in model.zsets["queue"].items()}
    queued = [(i, *name, arrival) for name, queue in queues.items() for i, arrival in queue.items()]
    waiting = [t for t in model.waiting() if not t.rests]
    assert sorted(queued) == sorted((t.id, t.browser, t.pool, t.avoid, t.arrival) for t in waiting)
    for ticket in waiting:
        assert not ticket.avoid or f"{ticket.pool} {ticket.avoid}" in model.avoiding[(ticket.browser,)]
    assert model.zset("deadlines") == {ticket.id: ticket.deadline for ticket in model.waiting()}


def _check_wishes(model: Model) -> None:
    """A wish is listed as long as sessions may wait for it."""
    living = {" ".join(name) for name, wish in model.wishes.items() if wish["status"] != "failed"}
    assert model.zset("wanted").keys() == living


def _check_pools(model: Model) -> None:
    """A worker whose heartbeat is overdue may stay claimable until somebody looks at it."""
    assert model.zset("workers") == {worker.id: worker.heartbeat + TTL_MS for worker in model.workers.values()}
    pools = {worker.pool for worker in model.workers.values()} | model.zsets["pool"].keys()
    for pool in pools:
        available = {w.id: w for w in model.workers.values() if w.pool == pool and w.status == "available"}
        scores = model.zset("pool", *pool)
        assert scores.keys() == available.keys()
        for worker in available.values():
            assert model.is_outdated(worker) or scores[worker.id] in _scores(model, worker)
        assert model.policies[pool]["margin"] == model.margin(pool)
        assert {worker.id for worker in available.values() if worker.apart} <= model.apart.get(pool, set())
        assert model.policies[pool]["recycles_until"] == max(model.recycling(pool).values(), default=0)
        draining = {w.full_name for w in model.workers.values() if w.pool == pool and w.status == "draining"}
        draining -= {name for name in draining if name.partition("/")[0] in model.drained}
        fresh = {w.full_name for w in model.workers.values() if w.full_name in draining and model.is_fresh(w)}
        assert fresh <= model.recycling(pool).keys()
        for worker in model.surely_claimable(pool):
            assert not [t for t in model.waiting() if t.may_have(worker) and model.is_alive(t) and not t.rests]
    for worker in model.workers.values():
        if model.is_fresh(worker):
            assert model.zset("appliances")[worker.team[2]] >= model.now
        if model.is_fresh(worker) and worker.team[2] not in model.drained:
            assert model.zset("offers", worker.pool[0])[worker.pool[1]] >= model.now


def _scores(model: Model, worker: Worker) -> set[int]:
    """Return the scores that a worker may have: which of them, time alone may have changed."""
    remaining, taken = int(min(max(0, model.rank(worker)[0]), 2**36)), model.taken(worker)
    score = remaining * 4096 + taken
    if not model.is_placed(worker):
        return {score + (SUSPECT if worker.suspect else BLOCKED)}
    claimable = taken * 2**37 + remaining if worker.apart and remaining >= 2 else score + CROWDED
    return {claimable} if model.is_fresh(worker) else {claimable, score + BLOCKED}


def _check_teams(model: Model) -> None:
    """A spare whose heartbeat is overdue is forgotten by its team until the next one comes."""
    teams = {worker.team for worker in model.workers.values()}
    assert model.serving.keys() | model.zsets["standby"].keys() <= teams
    for team in teams:
        mine = [worker for worker in model.workers.values() if worker.team == team]
        serving = {worker.id for worker in mine if worker.status == "available"}
        spare = {worker.id for worker in mine if worker.status == "standby"}
        fresh = {worker.id for worker in mine if worker.id in spare and model.is_fresh(worker)}
        assert model.serving.get(team, set()) == serving
        assert fresh <= model.zset("standby", *team).keys() <= spare
        assert len(serving) >= model.target(mine[0]) or not fresh
        assert not (serving and team[2] in model.drained)
