"""Clients: sessions that start at random, in a given rate, and hold their slots for a while."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter

import gevent
from gevent.event import Event

from appliance.errors import ClientGone
from appliance.grid.session import Session
from appliance.grid.values import SessionRequest
from appliance.names import Browser
from appliance.request_errors import RequestError
from tests.bench.scale.appliance import Appliance
from tests.bench.scale.plan import TOKEN, Plan
from tests.bench.scale.tally import Tally

UNCONNECTED = socket.socket()  # whoever brings a token is not asked for an account
WANTED = SessionRequest(
    Browser.CHROMIUM, "1.65", client="127.0.0.1", user_agent="Playwright/1.65.1 (x64; debian 12) python/3.11"
)


class Clients:
    """All clients of one process; each connects to an appliance of it at random."""

    def __init__(self, appliances: list[Appliance], plan: Plan, tally: Tally) -> None:
        """Use whom they may connect to; nobody comes before `set_rate`."""
        self._appliances = appliances
        self._plan = plan
        self._tally = tally
        self._rate = 0.0
        self._changed = Event()
        self.counts: Counter[str] = Counter()
        self.holding = 0

    def set_rate(self, per_second: float) -> None:
        """Let so many come, in each second, on average."""
        self._rate = per_second
        self._changed.set()

    def run(self) -> None:
        """Let clients come, for ever. What is late is made up for."""
        due = time.monotonic()
        while True:
            if not self._rate:
                self._changed.wait()
                due = time.monotonic()
            self._changed.clear()
            due += random.expovariate(self._rate) if self._rate else 0
            if due > time.monotonic():
                gevent.sleep(due - time.monotonic())
            if self._rate:
                gevent.spawn(self._use_a_session)

    def _use_a_session(self) -> None:
        proxy = random.choice([a for a in self._appliances if not a.is_cut]).proxy
        try:
            proxy.services.access.admit(UNCONNECTED, {"authorization": f"Bearer {TOKEN}"}, "/", "")
            with proxy.sessions.open(WANTED, lambda _: None) as session:
                self.counts["started"] += 1
                self.holding += 1
                self._hold(session)
                self.holding -= 1
        except (RequestError, ClientGone) as error:
            self.counts[f"refused: {type(error).__name__}"] += 1

    def _hold(self, session: Session) -> None:
        assert session.grant is not None
        worker, ended = session.grant.worker_id, Event()
        if self._tally.add(worker, 1) > self._plan.concurrency:
            self.counts["too many on one worker"] += 1
        session.relay(lambda *_: ended.set())
        if ended.wait(random.expovariate(1 / self._plan.session_s)):
            self.counts["ended by the grid"] += 1
        self._tally.add(worker, -1)
