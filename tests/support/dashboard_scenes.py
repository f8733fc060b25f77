"""Scenes for the dashboard: what the feed would tell of a grid without load, with much of it, or in trouble."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

NOW_MS = 1_795_900_000_000
HOSTILE = "<script>document.title = 'owned'</script>"
NAMES = ("checkout", "login", "search", "cart", "nightly", "visual", "smoke", "profile")
AGENTS = ("Playwright/1.65.2 (x64; debian 12) python/3.11", "Playwright/1.65.2 (x64; ubuntu 24.04) node/22")

Row = dict[str, Any]


class Scene:
    """Builds the first message of the feed; the same seed gives the same grid."""

    def __init__(self, now_ms: int = NOW_MS, seed: int = 7) -> None:
        """Start without workers and sessions."""
        self.now_ms = now_ms
        self._chance = random.Random(seed)
        self.workers: list[Row] = []
        self.sessions: list[Row] = []
        self.pools: list[Row] = []
        self._made = 0

    def add_pool(self, browser: str, version: str, workers: int, standby: int = 1, slots: int = 5) -> None:
        """Add a pool whose workers are spread over their lives, as the grid spreads them."""
        quota = 50
        margin = quota // max(1, workers)
        pool = f"{browser} {version}"
        first = sum(worker["browser"] == browser for worker in self.workers)
        for number in range(workers + standby):
            lifetime = 0 if number >= workers else round(quota - 3 - (quota - 6) * number / max(1, workers - 1 or 1))
            status = "standby" if number >= workers else "draining" if number == 0 and workers > 4 else "available"
            self.workers.append(
                {
                    "id": f"rack-1.{browser}-{first + number:02}.3f9a1c",
                    "pool": pool,
                    "browser": browser,
                    "version": f"{version}.2",
                    "appliance": "rack-1" if number % 2 == 0 else "rack-2",
                    "status": status,
                    "active": 0,
                    "lifetime": lifetime,
                    "concurrency": slots,
                    "quota": quota,
                    "memory_bytes": (310 + 37 * number % 200) * 2**20,
                    "started_ms": self.now_ms - 3_600_000,
                    "suspect": False,
                    "stale": False,
                    "reason": "it has reached its quota" if status == "draining" else "",
                }
            )
        self.pools.append({"id": pool, "browser": browser, "version": version, "quota": quota, "margin": margin})

    def fill(self, share: float, waiting: int = 0) -> None:
        """Fill a share of the slots, and let sessions wait."""
        for worker in self.workers:
            if worker["status"] == "standby":
                continue
            full = (
                worker["concurrency"] if share >= 1 else round(worker["concurrency"] * share * self._between(0.6, 1.4))
            )
            for _ in range(min(full, worker["concurrency"])):
                self._add_session(worker)
        for _ in range(waiting):
            self._add_session(None)

    def _between(self, low: float, high: float) -> float:
        return self._chance.uniform(low, high)

    def _add_session(self, worker: Row | None) -> None:
        number, self._made = self._made, self._made + 1
        if worker:
            worker["active"] += 1
        pick = self._chance.choice
        down = int(10 ** self._between(4, 7.6))
        is_own = number % 3 == 0
        self.sessions.append(
            {
                "id": f"{self._chance.getrandbits(64):016x}",
                "name": f"{pick(NAMES)}-{number}" if number % 5 else "",
                "labels": {"build": str(4700 + number % 9), "branch": pick(("main", "release/2.4"))}
                if number % 2
                else {},
                "status": "active" if worker else "waiting",
                "browser": worker["browser"] if worker else "chromium",
                "version": "1.65",
                "isolation": "browser" if is_own else "context",
                "protocol": "cdp"
                if number % 9 == 0 and not (worker and worker["browser"] == "firefox")
                else "playwright",
                "client": f"10.4.{number % 7}.{20 + number % 90}",
                "user_agent": pick(AGENTS),
                "token": pick(("ci", "nightly", "agents")),
                "proxy": "rack-1.a1b2c3",
                "appliance": worker["appliance"] if worker else "",
                "worker": worker["id"] if worker else "",
                "started_ms": self.now_ms - int(10 ** self._between(3.4, 6.2 if worker else 4.6)),
                "granted_ms": None,
                "ended_ms": None,
                "waited_ms": int(10 ** self._between(0.5, 3)) if worker else None,
                "bytes_from_client": down // 9,
                "bytes_to_client": down,
                "messages_from_client": down // 900,
                "messages_to_client": down // 700,
                "end_reason": "",
                "ended_by": "",
            }
        )

    def message(self, load: float = 0.5, trouble: str = "") -> Row:
        """Return the feed's first message; `load` shapes the last hour."""
        self._count()
        appliances = sorted({worker["appliance"] for worker in self.workers})
        grid = {
            "version": "2.0.0",
            "name": "rack-1",
            "memory_bytes": sum(worker["memory_bytes"] for worker in self.workers),
            "sessions_total": sum(one["status"] != "waiting" for one in self.sessions),
        }
        return {
            "type": "state",
            "full": True,
            "now_ms": self.now_ms,
            "trouble": trouble,
            "grid": grid,
            "pools": {"set": self.pools},
            "workers": {"set": self.workers},
            "sessions": {"set": self.sessions},
            "appliances": {"set": [self._appliance(name) for name in appliances]},
            "events": self._events(),
            "samples": [self._sample(number, load) for number in range(330)] if self.workers else [],
        }

    def changes(self) -> Row:
        """Return what a second later has changed: some sessions have moved something, a few of the later have ended.

        As many have begun.
        """
        live = [one for one in self.sessions if one["status"] == "active"]
        gone = self._chance.sample(live[20:], min(4, len(live[20:])))
        for one in gone:
            self.sessions.remove(one)
            worker = next(worker for worker in self.workers if worker["id"] == one["worker"])
            worker["active"] -= 1
            self._add_session(worker)
            self.sessions[-1]["started_ms"] = self.now_ms
        begun = self.sessions[len(self.sessions) - len(gone) :]
        moved = self._chance.sample(live, len(live) // 4)
        for one in moved:
            one["bytes_to_client"] += 4096
        set_rows = [one for one in (*moved, *begun) if one in self.sessions]
        return {"sessions": {"set": set_rows, "gone": [one["id"] for one in gone]}} if live else {}

    def _count(self) -> None:
        for pool in self.pools:
            own = [worker for worker in self.workers if worker["pool"] == pool["id"]]
            open_ones = [worker for worker in own if worker["status"] == "available"]
            statuses = ("available", "draining", "standby")
            pool["workers"] = {status: sum(one["status"] == status for one in own) for status in statuses}
            pool["slots"] = sum(worker["concurrency"] for worker in open_ones)
            pool["active"] = sum(worker["active"] for worker in open_ones)
            pool["free"] = pool["slots"] - pool["active"]
            waiting = [one for one in self.sessions if one["status"] == "waiting" and one["browser"] == pool["browser"]]
            pool["waiting"] = len(waiting)

    def _appliance(self, name: str) -> Row:
        on_workers = sum(worker["active"] for worker in self.workers if worker["appliance"] == name)
        return {"id": name, "status": "serving", "on_workers": on_workers, "drain_reason": "", "endpoint": ""}

    def _events(self) -> list[Row]:
        events = []
        running = [session for session in self.sessions if session["worker"]]
        for number, session in enumerate(running[-16:]):
            at = f"{self.now_ms - (17 - number) * 2100}-0"
            events.append({"id": at, "event": "session.started", "session": session["id"], "worker": session["worker"]})
        if self.workers:
            first = self.workers[0]["id"]
            late = [
                ("worker.draining", {"worker": first, "reason": "it has reached its quota"}),
                ("session.ended", {"session": "8be1f00c1234", "worker": first, "reason": "worker chromium-03 crashed"}),
                ("worker.started", {"worker": self.workers[-1]["id"], "lifetime": "0"}),
            ]
            events += [
                {"id": f"{self.now_ms - 900 + n}-0", "event": event, **fields} for n, (event, fields) in enumerate(late)
            ]
        return events

    def _sample(self, number: int, load: float) -> Row:
        slots = sum(pool["slots"] for pool in self.pools)
        wave = load * (0.75 + 0.25 * math.sin(number / 24)) + self._between(-0.05, 0.05)
        active = max(0, min(slots, round(slots * wave)))
        waits = max(0, wave - 0.95) * 40
        return {
            "at_ms": self.now_ms - (330 - number) * 10_000,
            "slots": slots,
            "active": active,
            "waiting": round(waits),
            "wait_mean_ms": round(12 + waits * 600 + self._between(0, 9)) if active else None,
            "wait_max_ms": round(30 + waits * 1900 + self._between(0, 90)) if active else None,
            "ended_per_minute": round(active * 1.4 * self._between(0.8, 1.2), 1),
            "failed_per_minute": round(max(0.0, self._between(-3, 1)), 1) if active else 0,
            "memory_bytes": int(sum(one["memory_bytes"] for one in self.workers) * (0.8 + 0.2 * wave)),
        }

    def ended(self, count: int = 12) -> list[Row]:
        """Return sessions of the history."""
        ends = [("closed", "client"), ("client disconnected", "network"), ("session limit of 3600 s reached", "limit")]
        ends += [("ended by an operator", "operator"), ("worker chromium-03 crashed", "worker")]
        rows = []
        for number in range(count):
            reason, cause = ends[number % 5 if number % 3 == 0 else 0]
            self._add_session(None)
            rows.append(self.sessions.pop())
            ended_ms = self.now_ms - number * 47_000
            rows[-1].update(
                status="ended",
                end_reason=reason,
                ended_by=cause,
                waited_ms=4,
                duration_ms=31_000 * (number + 1),
                ended_ms=ended_ms,
            )
        return rows


def quiet(scene: Scene) -> Row:
    """Nothing runs."""
    scene.add_pool("chromium", "1.65", 5)
    return scene.message(load=0)


def half(scene: Scene) -> Row:
    """Half of the slots are taken."""
    scene.add_pool("chromium", "1.65", 8)
    scene.add_pool("firefox", "1.65", 3)
    scene.fill(0.5)
    return scene.message(load=0.55)


def full(scene: Scene) -> Row:
    """Every slot is taken, and sessions wait."""
    scene.add_pool("chromium", "1.65", 8)
    scene.add_pool("firefox", "1.65", 3)
    scene.fill(1, waiting=9)
    return scene.message(load=1.05)


def failure(scene: Scene) -> Row:
    """Redis is away, and one worker is suspect."""
    scene.add_pool("chromium", "1.65", 5)
    scene.fill(0.6)
    scene.workers[1]["suspect"] = True
    return scene.message(load=0.6)  # the feed tells of the trouble a second later


def dead(scene: Scene) -> Row:
    """No worker runs."""
    return scene.message()


def crowd(scene: Scene) -> Row:
    """200 sessions on 40 workers."""
    scene.add_pool("chromium", "1.65", 40)
    scene.fill(1)
    return scene.message(load=0.98)


def versions(scene: Scene) -> Row:
    """Five versions of two browsers."""
    for browser in ("chromium", "firefox"):
        for minor in range(61, 66):
            scene.add_pool(browser, f"1.{minor}", 2 if minor < 65 else 4)
    scene.fill(0.5)
    return scene.message(load=0.5)


def long(scene: Scene) -> Row:
    """Names and labels as long as they may be, on appliances with long names, of which one drains."""
    scene.add_pool("chromium", "1.65", 5)
    scene.fill(0.7, waiting=3)
    names = {"rack-1": "playwright-appliance-eu-central-1a-rack-0001", "rack-2": "playwright-appliance-eu-west-2"}
    for row in (*scene.workers, *scene.sessions):
        row["appliance"] = names.get(row["appliance"], "")
    text = "checkout › a guest pays with an expired card and is told so in plain words"
    for number, session in enumerate(scene.sessions):
        session["name"] = f"{text} [{number}]" if number % 2 else "x" * 100
        session["labels"] |= {f"label-{n}": "a-value-as-long-as-some-are-" * (n + 1) for n in range(number % 6)}
        session["token"] = "continuous-integration-of-the-team-that-tests-most"
        session["client"] = "2001:db8:85a3:1234:5678:8a2e:370:7334"
    message = scene.message(load=0.7)
    drained = {
        "status": "draining",
        "drain_reason": "drained by an operator: the kernel of this machine is upgraded tonight",
    }
    message["appliances"]["set"][0] |= drained
    return message


def loss(scene: Scene) -> Row:
    """A worker has crashed, another is suspect, a third stale, for their appliance is gone; sessions wait."""
    scene.add_pool("chromium", "1.65", 4)
    scene.fill(1, waiting=4)
    scene.workers[1]["suspect"] = True
    scene.workers[3]["stale"] = True
    message = scene.message(load=0.9)
    at, sessions = scene.now_ms - 700, [one["id"] for one in scene.sessions[:3]]
    reason = "the browser of worker chromium-02 crashed (signal 9)"
    lost = [("worker.ended", {"worker": "rack-1.chromium-02.3f9a1c", "lifetime": "31", "reason": reason})]
    lost += [("session.ended", {"session": one, "reason": reason}) for one in sessions]
    lost += [("session.ended", {"session": sessions[0], "reason": "appliance rack-2 is lost: it stopped answering"})]
    message["events"] += [{"id": f"{at + n}-0", "event": event, **fields} for n, (event, fields) in enumerate(lost)]
    return message


def hostile(scene: Scene) -> Row:
    """Clients that name everything as they would write a page."""
    scene.add_pool("chromium", "1.65", 2)
    scene.fill(0.6)
    for session in scene.sessions:
        session.update(name=HOSTILE, client=HOSTILE, user_agent=HOSTILE, labels={"x": HOSTILE})
    message = scene.message()
    for event in message["events"]:
        event["reason"] = HOSTILE
    return message


SCENES: dict[str, Callable[[Scene], Row]] = {
    made.__name__: made for made in (quiet, half, full, failure, dead, crowd, versions, long, loss, hostile)
}
