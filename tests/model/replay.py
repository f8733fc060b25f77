"""Whether each event of a call was allowed, and whether Redis holds afterwards what follows from them."""

from __future__ import annotations

from tests.model.model import RETURN_MS, TTL_MS, Model


class Replay:
    """One call's events, applied to what Redis held before it; `model` becomes what it should hold now."""

    def __init__(self, model: Model, after: Model) -> None:
        self.model = model
        self.after = after
        self.leaving = [e["worker"] for e in after.events if e["event"] == "worker.ended"]

    def run(self) -> None:
        self.model.policies = self.after.policies  # the quota, which only a registration changes, and first of all
        self._next_leaves()
        for event in self.after.events:
            name = "_" + event.pop("event").replace(".", "_")
            getattr(self, name)(**event)
        self._compare()

    def _next_leaves(self) -> None:
        """Take the next worker out that ends: its slots and its place in the team are gone before its end."""
        if self.leaving:
            worker = self.model.workers[self.leaving[0]]
            is_awaited = self.model.recycling(worker.pool).get(worker.full_name, 0) >= self.model.now
            if worker.status != "draining" or is_awaited:  # else its successor is there already
                self.model.mark(worker, self.model.now + RETURN_MS)
            worker.status = "gone"

    def _worker_started(self, worker: str, **_: str) -> None:
        known = self.model.workers[worker]  # the step has put it there
        self.model.mark(known, self.model.now + TTL_MS if known.status == "draining" else None)

    def _worker_ended(self, worker: str, **_: str) -> None:
        ended = self.model.workers.pop(worker)
        assert not ended.sessions
        self.leaving.remove(worker)
        self._next_leaves()

    def _worker_draining(self, worker: str, reason: str) -> None:
        known = self.model.workers[worker]
        assert reason in ("operator", "quota reached", "recycled early") or known.team[2] in self.model.drained
        if reason == "quota reached":
            assert known.remaining <= 0
        if reason == "recycled early":
            others = [w for w in self.model.workers.values() if w.pool == known.pool and w.status == "available"]
            assert known.remaining <= min(known.quota / 3, *(w.remaining for w in others))
            assert len(others) > 1
            has_spare = any(w.team == known.team and w.status == "standby" for w in self.model.workers.values())
            assert has_spare or not self.model.missing(known.pool)
        known.status = "draining"
        self.model.mark(known, self.model.now + TTL_MS)

    def _worker_promoted(self, worker: str) -> None:
        spare = self.model.workers[worker]
        team = [w for w in self.model.workers.values() if w.team == spare.team]
        assert spare.status == "standby"
        assert self.model.is_fresh(spare)
        assert sum(w.status == "available" for w in team) < self.model.target(spare)
        others = [w.started for w in team if w.status == "standby" and self.model.is_fresh(w)]
        assert spare.started == min(others)
        spare.status = "available"

    def _appliance_drained(self, appliance: str, **_: str) -> None:
        self.model.drained[appliance] = self.model.now
        for worker in self.model.workers.values():
            if worker.team[2] == appliance:
                self.model.mark(worker, None)

    def _appliance_undrained(self, appliance: str) -> None:
        del self.model.drained[appliance]
        for worker in self.model.workers.values():
            if worker.team[2] == appliance and worker.status == "draining":
                self.model.mark(worker, self.model.now + TTL_MS)

    def _session_ended(self, session: str, worker: str, reason: str, **_: str) -> None:
        del self.model.sessions[session]
        lease = self.model.zset("leases")[session]
        assert reason == "released" or self.model.workers[worker].status == "gone" or lease <= self.model.now
        self.model.workers[worker].sessions.remove(session)

    def _session_started(self, session: str, worker: str) -> None:
        model, ticket, chosen = self.model, self.model.sessions[session], self.model.workers[worker]
        assert ticket.state in ("claimed", "waiting")
        assert ticket.may_have(chosen)
        assert not ticket.rests
        assert ticket.asks or model.is_alive(ticket) or self.after.is_alive(ticket)
        rivals = [t for t in model.waiting() if t.may_have(chosen) and model.is_alive(t) and not t.rests]
        assert all(rival.arrival >= ticket.arrival for rival in rivals), "it overtook one that waits longer"
        if ticket.state == "claimed":
            newer = [w.pool for w in model.workers.values() if ticket.suits(w.pool) and w.pool > chosen.pool]
            assert not any(model.surely_claimable_by(ticket, pool) for pool in newer), "a newer version was free"
        assert chosen in model.claimable(chosen.pool)
        looks = [{w.id for w in each.workers.values() if w.apart} for each in (model, self.after)]  # at most one a call
        assert model.is_outdated(chosen) or model.rank(chosen) in [model.best(ticket, chosen.pool, a) for a in looks]
        if any(w.pool == chosen.pool and w.status == "draining" for w in model.workers.values()):
            third = [w for w in model.surely_claimable_by(ticket, chosen.pool) if w.remaining >= 2]
            assert chosen.remaining != 1 or not third, "it is drained although another drains and a third was free"
        ticket.state, ticket.worker, ticket.avoid = "active", worker, ""
        chosen.sessions.add(session)
        chosen.lifetime += 1

    def _session_given_back(self, session: str, worker: str, **_: str) -> None:
        assert self.model.sessions[session].rests  # the step has done all that it changes
        assert session not in self.model.workers[worker].sessions

    def _pool_failed(self, browser: str, version: str, appliance: str, **_: str) -> None:
        wish = self.model.wishes[browser, version]
        assert (wish["status"], wish["by"]) == ("held", appliance)
        wish["status"] = "failed"

    def _worker_over_admitted(self, worker: str, **_: str) -> None:
        known = self.model.workers[worker]
        assert len(known.sessions) > known.concurrency

    def _compare(self) -> None:
        assert self.model.workers == self.after.workers
        assert self.after.drained.items() <= self.model.drained.items()
        assert not [name for name in self.after.drained if name not in self.after.zset("appliances")]
        assert self.model.active() == self.after.active()
        before = {ticket.id: (ticket.isolation, ticket.protocol) for ticket in self.model.sessions.values()}
        kept = {ticket.id: (ticket.isolation, ticket.protocol) for ticket in self.after.sessions.values()}
        assert kept.items() <= before.items(), "a session is of another kind than its client asked for"
        for pool, noted in self.after.zsets["recycling"].items():
            expected = self.model.recycling((pool[0], pool[1]))
            assert {name: end for name, end in expected.items() if end >= self.model.now}.items() <= noted.items()
            assert noted.items() <= expected.items()  # what is over may still be noted
        failed = {name for name, wish in self.model.wishes.items() if wish["status"] == "failed"}
        assert {name for name, wish in self.after.wishes.items() if wish["status"] == "failed"} <= failed
        claimed = {ticket.id for ticket in self.model.sessions.values() if ticket.state == "claimed"}
        waiting = {ticket.id: ticket for ticket in self.model.waiting()}
        for ticket in self.after.waiting():
            if ticket.id in claimed:
                assert all(ticket.arrival > w.arrival for w in waiting.values() if w.browser == ticket.browser)
            else:
                before = waiting.pop(ticket.id)
                assert (before.arrival, before.rests) == (ticket.arrival, ticket.rests)
                assert ticket.rests or (before.avoid, before.pool) == (ticket.avoid, ticket.pool)
        assert not [name for name in waiting if self.model.is_alive(waiting[name])]
