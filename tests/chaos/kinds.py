"""The kinds of faults: what each hits, how long it lasts, and what it may do to sessions.

A kind says what the sessions that it harms may tell their clients, as a pattern (`{slot}` is the worker's);
no pattern means that no session may be harmed. A fault of a worker excuses the sessions of that worker
alone, one of the proxy all, one of Redis only clients that are still connecting: running sessions need no
Redis.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Target(StrEnum):
    """What a fault hits."""

    WORKER = "worker"
    PROXY = "proxy"
    REDIS = "redis"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. `lasts_s` is the range of seconds that a pause lasts; None if it is done at once."""

    name: str
    target: Target
    told: str | None = None
    lasts_s: tuple[float, float] | None = None


# Shorter than every TTL (3 s, of which 1 s may have passed since the last heartbeat or renewal), and past it.
SHORT_S, LONG_S = (0.2, 1.5), (1.5, 9.0)

WORKER_LOST = r"worker {slot} crashed"
DRIVER_LOST = r"the driver of worker {slot} ended: signal 9"
# If a browser is killed, Playwright's protocol may tell its client before the worker does.
BROWSER_LOST = r"the browser of worker {slot} crashed|Target page, context or browser has been closed"
PAGE_LOST = r"(Target|Page) crashed|net::ERR_ABORTED"
ZYGOTE_LOST = rf"{BROWSER_LOST}|{PAGE_LOST}"  # a new page may crash before the worker can say so
# A proxy that was killed cannot speak.
PROXY_LOST = r"ECONNREFUSED|ECONNRESET|socket hang up|Browser closed|Target page, context or browser has been closed"
PROXY_STOPS = rf"appliance is shutting down|{PROXY_LOST}"
REDIS_AWAY = r"Redis does not answer"

KINDS = (
    Kind("worker.kill", Target.WORKER, WORKER_LOST),
    Kind("worker.terminate", Target.WORKER, r"worker {slot} is shutting down"),
    Kind("worker.drain", Target.WORKER),
    Kind("worker.pause", Target.WORKER, lasts_s=SHORT_S),
    Kind("worker.freeze", Target.WORKER, r"worker {slot} stopped answering", LONG_S),
    Kind("driver.kill", Target.WORKER, DRIVER_LOST),
    Kind("driver.pause", Target.WORKER, lasts_s=SHORT_S),
    Kind("driver.freeze", Target.WORKER, lasts_s=LONG_S),
    Kind("browser.kill", Target.WORKER, BROWSER_LOST),
    Kind("browser.pause", Target.WORKER, lasts_s=SHORT_S),
    Kind("browser.freeze", Target.WORKER, lasts_s=LONG_S),
    Kind("browsers-group.kill", Target.WORKER, BROWSER_LOST),
    Kind("browsers-group.freeze", Target.WORKER, lasts_s=LONG_S),
    Kind("zygote.kill", Target.WORKER, ZYGOTE_LOST),
    Kind("renderer.kill", Target.WORKER, PAGE_LOST),
    Kind("tree.kill", Target.WORKER, WORKER_LOST),
    Kind("tree.freeze", Target.WORKER, r"worker {slot} stopped answering", LONG_S),
    Kind("proxy.kill", Target.PROXY, PROXY_LOST),
    Kind("proxy.terminate", Target.PROXY, PROXY_STOPS),
    Kind("proxy.pause", Target.PROXY, lasts_s=SHORT_S),
    Kind("proxy.freeze", Target.PROXY, lasts_s=LONG_S),
    Kind("redis.kill", Target.REDIS, REDIS_AWAY),
    Kind("redis.pause", Target.REDIS, lasts_s=SHORT_S),
    Kind("redis.freeze", Target.REDIS, REDIS_AWAY, LONG_S),
    Kind("redis.forget", Target.REDIS),
    Kind("redis.hangup", Target.REDIS),
)
