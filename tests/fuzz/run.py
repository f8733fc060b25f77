"""Runs cases in parallel, and judges: each answer, the proxy's log, and what it still holds in the end."""

from __future__ import annotations

import socket
import time
from collections import Counter
from dataclasses import dataclass, field

import gevent
from gevent.pool import Pool

from tests.fuzz import requests
from tests.fuzz.case import Case, make
from tests.fuzz.steps import play
from tests.fuzz.target import Holdings, Target
from tests.fuzz.workers import Workers

AT_ONCE = 150
CASE_MAX_S = 40.0  # by far: whoever needs longer hangs
SETTLE_S = 30.0  # more than every time-out of the proxy
LOOK_INTERVAL_S = 1.0
COUNTED = ("descriptors", "threads", "greenlets", "slots")
MEMORY_GROWTH_MAX_BYTES = 24 << 20


@dataclass
class Run:
    """One run of cases against a proxy."""

    target: Target
    workers: Workers
    seed: int
    silence_s: float
    failures: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    _running: set[int] = field(default_factory=set)

    def cases(self, first: int, count: int, until: float) -> int:
        """Run cases until the monotonic time `until`, or the first failure; returns how many were run."""
        pool, looker = Pool(AT_ONCE), gevent.spawn(self._look)
        done = 0
        for number in range(first, first + count):
            if self.failures or time.monotonic() > until:
                break
            pool.spawn(self._run, make(self.seed, number, self.silence_s))
            done += 1
        pool.join()
        looker.kill()
        return done

    def settled(self, before: Holdings) -> Holdings:
        """Wait until the proxy holds no more than before, or long enough; adds a failure for what it still holds."""
        deadline = time.monotonic() + (0 if self.failures else SETTLE_S)
        while True:
            now = self.target.holdings()
            more = [f"the proxy held {getattr(before, name)} {name} and holds {getattr(now, name)}"
                    for name in COUNTED if getattr(now, name) > getattr(before, name)]  # fmt: skip
            if not more or time.monotonic() > deadline:
                self.failures += more
                return now
            gevent.sleep(0.2)

    def check_session(self) -> None:
        """Use a normal session."""
        with socket.create_connection(("127.0.0.1", self.target.port), timeout=5) as connection:
            connection.sendall(requests.joined(requests.valid(-1)))
            head = connection.recv(65536)
            connection.sendall(b"\x81\x85\0\0\0\0hello")
            if not head.startswith(b"HTTP/1.1 101") or connection.recv(64) != b"\x81\x85\0\0\0\0hello":
                self.failures.append(f"a normal session does not work: {head!r}")

    def _run(self, case: Case) -> None:
        self._running.add(case.number)
        self.workers.expect(case)
        try:
            with gevent.Timeout(CASE_MAX_S):
                self._judge(case, play(self._connect(), case.client))
        except gevent.Timeout:
            self._fail(case, "it hangs")
        except OSError as error:
            self._fail(case, f"the proxy does not accept: {error}")
        finally:
            self.workers.forget(case)
            self._running.discard(case.number)

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.target.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _judge(self, case: Case, heard: bytes) -> None:
        """Whatever is sent, the proxy answers in HTTP or not at all, and never with an error of its own making."""
        self.kinds[case.kind] += 1
        status = heard[9:12].decode("latin-1") if heard.startswith(b"HTTP/1.1 ") else ""
        self.answers[status or "none"] += 1
        is_workers = case.kind == "hostile answer"
        if (heard and not status) or (status == "500" and not is_workers):
            self._fail(case, f"it was answered with {heard!r}")

    def _fail(self, case: Case, what: str) -> None:
        self.failures.append(f"case {case.number} ({case.kind}): {what}\n{case!r:.2000}")

    def _look(self) -> None:
        """Look for tracebacks; the case at fault is one of those that run."""
        while not self.failures:
            if fault := self.target.tracebacks() or "".join(self.workers.complaints[:1]):
                self.failures.append(f"while these cases ran: {sorted(self._running)}\n{fault:.4000}")
            gevent.sleep(LOOK_INTERVAL_S)
