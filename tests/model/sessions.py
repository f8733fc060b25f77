"""Clients and their proxies that do what they may do, at any time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from appliance.errors import Blame
from appliance.grid.values import Grant
from appliance.names import Isolation, Protocol
from tests.model.model import LEASE_MS, WAIT_MS, Ticket
from tests.model.workers import ANY, Client, Kind, Workers

# What a session has is its worker's concern alone, unless there is a pool beside its own for isolation=browser.
KINDS: list[Kind] = [
    {"isolation": Isolation.CONTEXT, "protocol": Protocol.PLAYWRIGHT},
    {"isolation": Isolation.BROWSER, "protocol": Protocol.PLAYWRIGHT},
    {"isolation": Isolation.BROWSER, "protocol": Protocol.CDP},
]


class Sessions(Workers):
    """The sessions of three proxies."""

    @precondition(lambda self: len(self.clients) < 25)
    @rule(
        proxy=ANY,
        browser=st.sampled_from(["chromium"] * 4 + ["firefox"]),
        minor=st.sampled_from(["1.65"] * 3 + ["1.64", "1.63", "1.62", ""]),
        queue_max=st.sampled_from([2, 100, 100]),
        clients=st.integers(1, 4),
        kinds=st.permutations(KINDS),
        may_wish=st.booleans(),
    )
    def claim(
        self,
        proxy: int,
        browser: str,
        minor: str,
        queue_max: int,
        clients: int,
        kinds: Sequence[Kind] = KINDS,
        *,
        may_wish: bool = False,
    ) -> None:
        for kind, _ in zip(cycle(kinds), range(clients), strict=False):
            name = self.proxies[proxy % 3]
            self.clients.append(Client(self.name("s"), browser, minor, name, "claimed", may_wish=may_wish, **kind))
            self.ask(self.clients[-1], queue_max)

    @precondition(lambda self: self.clients)
    @rule(which=ANY)
    def claim_again(self, which: int) -> None:
        """Poll, or repeat a claim whose answer was lost."""
        client = self.clients[which % len(self.clients)]
        if not client.grant:
            self.ask(client, 100)

    def ask(self, client: Client, queue_max: int) -> None:
        client.pool = self.model.pool_of(client.browser, client.minor, client.isolation)
        if client.id not in self.model.sessions:
            ticket = Ticket(
                client.id, client.browser, client.minor, client.proxy, "claimed", asks=True, may_wish=client.may_wish,
                **client.kind,
            )  # fmt: skip
            ticket.pool = client.pool
            self.model.sessions[client.id] = ticket
        ticket = self.model.sessions[client.id]
        is_elsewhere = (ticket.avoid, ticket.pool) != (client.avoid, client.pool)
        is_new, is_displaced = ticket.state == "claimed", ticket.rests or is_elsewhere
        if ticket.state == "waiting" and is_displaced:
            ticket.rests, ticket.asks = False, True
            self.model.zsets["proxies"].setdefault((), {}).setdefault(client.proxy, 0)
        if ticket.state != "active":
            ticket.avoid, ticket.pool = client.avoid, client.pool
        serving = [w for w in self.model.workers.values() if w.team[2] not in self.model.drained]
        served = any(client.suits(w.pool) and self.model.is_fresh(w) for w in serving)
        members = [w for w in serving if w.status != "draining" and client.suits(w.pool)]
        reachable = any(f"{w.team[2]}/" not in client.avoid.split() for w in members)
        offered, wished = self.model.is_offered(client), self.model.may_be_wished(client)
        answer = self.grid.claim(
            client.id,
            client.request,
            proxy=client.proxy,
            lease_ms=LEASE_MS,
            wait_ms=WAIT_MS,
            queue_max=queue_max,
            avoid=client.avoid.split(),
            is_again=client.id in self.known,
        )
        self.settle()
        queued = self.model.queue_length(client.browser)
        if answer["status"] == "waiting":
            assert not is_new or queued <= queue_max
            assert offered or wished
            assert offered or self.model.wishes[client.browser, client.minor]["status"] in ("open", "held")
        elif answer["status"] == "full":
            assert queued >= queue_max
        elif answer["status"] == "unreachable":
            assert not reachable
        elif answer["status"] == "lost":
            assert ticket.deadline < self.now
        else:
            assert answer["status"] == "active" or not (served or wished)
        self.heed(client, answer)

    def heed(self, client: Client, answer: dict[str, Any]) -> None:
        """Do what a proxy does with the answer to a claim, which must be the truth."""
        held = self.model.sessions.get(client.id)
        if answer["status"] in ("active", "waiting"):
            assert held
            assert held.state == answer["status"]
            assert answer["status"] == "waiting" or held.worker == answer["worker"]
        else:
            self.clients.remove(client)
            if held:  # it has waited for what nobody offers any more
                assert answer["status"] in ("unserved", "unreachable")
                assert held.state == "waiting"
                self.release(client.id)
        client.grant = None
        if answer["status"] == "active":
            client.grant = Grant(client.id, answer["worker"], answer["worker_name"], answer["appliance"], 0)

    @precondition(lambda self: self.clients)
    @rule(which=ANY)
    def leave(self, which: int) -> None:
        """Hang up: while relayed, while waiting, or when the slot was granted and the proxy not yet told."""
        client = self.clients.pop(which % len(self.clients))
        self.release(client.id)
        self.release(client.id)  # the answer was lost

    def release(self, session: str) -> None:
        known = self.model.sessions.get(session)
        if known and known.state == "waiting":
            del self.model.sessions[session]
        assert self.grid.release(session, "released") == bool(known)
        self.settle()
        assert session not in self.model.sessions

    @precondition(lambda self: any(client.grant for client in self.clients))
    @rule(which=ANY, blame=st.sampled_from([*Blame]), backs_off=st.booleans(), repeats=st.booleans())
    def dial_in_vain(self, which: int, blame: Blame, backs_off: bool, repeats: bool) -> None:
        relayed = [client for client in self.clients if client.grant]
        client = relayed[which % len(relayed)]
        assert client.grant
        worker, ticket = self.model.workers.get(client.grant.worker_id), self.model.sessions.get(client.id)
        has_it = ticket is not None and ticket.worker == client.grant.worker_id
        if worker and blame is Blame.WORKER and (has_it or not ticket):
            worker.suspect = True
        if has_it and ticket and worker:
            worker.sessions.remove(client.id)
            worker.lifetime = max(0, worker.lifetime - 1)
            ticket.state, ticket.worker, ticket.rests = "waiting", "", True
        self.grid.give_back(client.id, client.grant.worker_id, blame)
        self.settle()
        if repeats:  # the answer was lost
            if not ticket and worker and blame is Blame.WORKER:
                self.model.workers[client.grant.worker_id].suspect = True
            self.grid.give_back(client.id, client.grant.worker_id, blame)
            self.settle()
        shunned = f"{client.grant.appliance}/" if blame is Blame.PATH else client.grant.worker_id
        if blame is not Blame.SELF:
            client.avoid = " ".join(sorted({*client.avoid.split(), shunned}))
        client.grant = None
        if not backs_off:
            self.ask(client, 100)

    @precondition(lambda self: any(client.avoid and not client.grant for client in self.clients))
    @rule(which=ANY)
    def reach_again(self, which: int) -> None:
        """Let a proxy reach what a session avoided."""
        avoiding = [client for client in self.clients if client.avoid and not client.grant]
        avoiding[which % len(avoiding)].avoid = ""
        self.ask(avoiding[which % len(avoiding)], 100)

    @precondition(lambda self: self.clients)
    @rule(which=ANY)
    def kill(self, which: int) -> None:
        client = self.clients[which % len(self.clients)]
        is_known = client.id in self.model.sessions
        assert self.grid.kill_session(client.id, "killed") == is_known
        self.settle()
        if is_known:
            self.killed[client.id] = client.proxy

    @rule(proxy=ANY)
    def renew(self, proxy: int) -> None:
        name = self.proxies[proxy % 3]
        relayed = {client.id: client for client in self.clients if client.grant and client.proxy == name}
        self.model.zsets["proxies"].setdefault((), {})[name] = self.now + LEASE_MS
        workers = {client.id: client.grant.worker_id for client in relayed.values() if client.grant}
        unknown, kills = self.grid.renew(name, workers, LEASE_MS)
        for session in [i for i, p in self.killed.items() if p == name and i not in {*relayed, *self.model.sessions}]:
            del self.killed[session]
        assert kills == {session: "killed" for session, proxy in self.killed.items() if proxy == name}
        assert set(unknown) == {session for session in relayed if session not in self.model.active()}
        self.settle()
        assert self.model.zset("proxies")[name] == self.now + LEASE_MS
        assert all(self.model.zset("leases")[i] == self.now + LEASE_MS for i in relayed if i not in unknown)
        for session in unknown:
            self.take_up(relayed[session])

    def take_up(self, client: Client) -> None:
        """Assert a session that Redis has forgotten."""
        assert client.grant
        worker = self.model.workers.get(client.grant.worker_id)
        expected = "active" if worker else "pending"
        if worker:
            worker.sessions.add(client.id)
            worker.unclaimed = max(0, worker.unclaimed - 1)
            taken = Ticket(client.id, client.browser, client.minor, client.proxy, "active", worker.id, **client.kind)
            self.model.sessions[client.id] = taken
        answer = self.grid.assert_session(client.grant, client.request, proxy=client.proxy, lease_ms=LEASE_MS)
        assert answer["status"] == expected
        assert not worker or answer["over"] == max(0, len(worker.sessions) - worker.concurrency)
        self.settle()

    @precondition(lambda self: any(client.id not in self.model.sessions for client in self.clients))
    @rule()
    def end_the_forgotten(self) -> None:
        """Deliver the messages about ended sessions."""
        for client in list(self.clients):
            if client.grant and client.id not in self.model.sessions:
                self.clients.remove(client)
                self.release(client.id)
