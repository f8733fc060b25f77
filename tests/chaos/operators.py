"""Operators during a chaos run: they ask for every page again and again, and are answered, or told why not."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException

from tests.chaos.rig import TOKEN, Rig
from tests.support.appliance import Appliance

LOOK_INTERVAL_S = 0.2
PATIENCE_S = 30.0
KNOWN_ID = "ID"  # in a path: that of the session that ended last
PAGES = (
    *("/api/v1/sessions", "/api/v1/history?count=20", "/api/v1/sessions/ID", "/api/v1/sessions/ID/why"),
    *("/api/v1/workers", "/api/v1/appliances", "/api/v1/appliance", "/api/v1/pools", "/api/v1/capacity"),
    *("/api/v1/queue", "/api/v1/pressure", "/api/v1/events", "/api/v1/tokens", "/api/v1/openapi.json"),
    *("/metrics", "/dashboard", "/healthz", "/readyz", "/json/version"),
)
UNAVAILABLE = 503  # Redis is away, or the appliance stops: each says so in its own words


class Operators:
    """One operator of each appliance, in a thread of its own."""

    def __init__(self, rig: Rig, complain: Callable[[str], None]) -> None:
        """Use the appliances, and who is told of answers that nobody understands."""
        self.statuses: Counter[int] = Counter()
        self._rig, self._complain = rig, complain
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(len(rig.members))

    def __enter__(self) -> Operators:
        """Begin to ask."""
        self._asking = [self._pool.submit(self._ask_on, member) for member in self._rig.members]
        return self

    def __exit__(self, *_: object) -> None:
        """Ask no more."""
        self._stopped.set()
        for asking in self._asking:
            asking.result()

    def _ask_on(self, member: Appliance) -> None:
        last = "none"
        for page in itertools.cycle(PAGES):
            if self._stopped.wait(LOOK_INTERVAL_S):
                return
            try:
                status, kind, body = _get(member, page.replace(KNOWN_ID, last))
            except (OSError, HTTPException):  # its proxy is away
                continue
            self.statuses[status] += 1
            if wrong := _what_is_wrong(status, kind, body):
                self._complain(f"{page} of {member.endpoint}: {wrong}")
            elif "history" in page and status == 200:
                last = next((one["id"] for one in json.loads(body)["sessions"]), last)


def _get(member: Appliance, page: str) -> tuple[int, str, str]:
    connection = HTTPConnection(member.host, member.port, timeout=PATIENCE_S)
    try:
        connection.request("GET", page, headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("content-type", ""), answer.read().decode(errors="replace")
    finally:
        connection.close()


def _what_is_wrong(status: int, kind: str, body: str) -> str:
    """Return what an operator cannot make sense of: an error of the proxy's own, or half an answer."""
    if status >= 500 and status != UNAVAILABLE:
        return f"{status} {body[:300]}"
    if kind.startswith("application/json"):
        try:
            found = json.loads(body)
        except ValueError:
            return f"{status}, and no JSON: {body[:300]!r}"
        if status == UNAVAILABLE and "error" in found and not found["error"]["message"]:
            return f"{status} without a reason"
    return ""
