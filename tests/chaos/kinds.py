"""The kinds of faults: what each hits, how long it lasts, and what it may do to sessions.

A kind says what the sessions that it harms may tell their clients, as a pattern (`{worker}` is the worker's name,
`{appliance}` the appliance's); no pattern means that no session may be harmed. A fault of a worker excuses the
sessions of that worker alone, one of an appliance those of all its workers, and one of a proxy its clients'. A
session that passes through a proxy only as through a door (DOOR_LOST) must be told so. One of what serves agents
excuses those of the same appliance's proxy. One of Redis or of a route
excuses only clients that are still connecting: running sessions need no Redis.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Target(StrEnum):
    """What a fault hits."""

    WORKER = "worker"
    PROXY = "proxy"
    AGENTS = "agents"  # the processes that drive their browsers, and what starts these
    REDIS = "redis"
    APPLIANCE = "appliance"
    ROUTE = "route"  # from one appliance to another
    CLIENT = "client"  # one that attacks; beside it, the worker that it was given


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault; its name is `part.act`, of which the part is a process or the target.

    `lasts_s` is the range of seconds that it lasts; None if it is done at once.
    """

    name: str
    target: Target
    told: str | None = None
    lasts_s: tuple[float, float] | None = None
    needs_machine: bool = False  # an appliance on a machine of its own, which only root can make

    @property
    def part(self) -> str:
        """What is hit."""
        return self.name.partition(".")[0]

    @property
    def act(self) -> str:
        """What is done to it."""
        return self.name.partition(".")[2]


# Shorter than every TTL (3 s, of which 1 s may have passed since the last heartbeat or renewal), and past it.
SHORT_S, LONG_S = (0.2, 1.5), (1.5, 9.0)
SPAWNS_FAIL_S = (7.0, 12.0)  # past the three tries in 6 s that supervisord makes by its defaults
LOST_WRITES_S = (0.1, 2.0)

WORKER_LOST = r"worker {worker} crashed"
WORKER_SILENT = r"worker {worker} stopped answering"
DRIVER_LOST = r"the driver of worker {worker} ended: signal 9"
# If a browser is killed, Playwright's protocol may tell its client before the worker does.
BROWSER_LOST = r"the browser of worker {worker} crashed|Target page, context or browser has been closed"
DRIVER_OVERWHELMED = r"the (driver of worker {worker} ended|(driver|browser) of worker {worker} stopped answering)"
# A worker's own word comes by Redis. Without it, the proxy says what it sees, or the driver's word is passed on.
WORDLESS = r"worker {worker} crashed|Browser closed"
STOPPED_WORKERS = ("worker.pause", "worker.freeze")  # they cannot say anything
# A kept session's first client visits a browser whose worker was lost since it was launched (SessionUnreachable).
KEPT_LOST = r"Session [^\"]* (is not reached: the driver of worker {worker} does not|has ended: |has just ended)"
# A browser of its own ends with one session; with its last page, its client may read what any page says.
OWN_LOST = r"the browser of this session crashed|Target page, context or browser has been closed"
# A CDP client does not pass on the reason for its connection's end; one that still connects waits for its time-out.
CDP_LOST = (
    r"Target page, context or browser has been closed|Connection closed|Browser has been closed"
    r"|Timeout \d+ms exceeded[\s\S]*<ws disconnected>"
)
PAGE_LOST = r"(Target|Page) crashed|net::ERR_ABORTED"
ZYGOTE_LOST = rf"{BROWSER_LOST}|{OWN_LOST}|{PAGE_LOST}"  # a new page may crash before the worker can say so
# An agent's browser ends with the process that drives it, and no other can be started at once.
AGENTS_LOST = r"the process that drove it ended|The process that serves agents does not"
# It is told of its browser's end in a sentence; a call that is under way may first meet what any page says.
AGENT_TOLD = r"Target page, context or browser has been closed|The browser was closed meanwhile"
# It has a connection for each call, and what its proxy knew of it is gone with that.
AGENTS_PROXY_LOST = r"Connection(Refused|Reset)Error|RemoteDisconnected|IncompleteRead|There is no such MCP session"
# A proxy that was killed cannot speak.
PROXY_LOST = r"ECONNREFUSED|ECONNRESET|socket hang up|Browser closed|Target page, context or browser has been closed"
PROXY_STOPS = rf"appliance is shutting down|{PROXY_LOST}"
# But another appliance's proxy, which relays through it to a worker, can.
DOOR_LOST = r"the connection to appliance {appliance} was lost|appliance {appliance} is shutting down"
# And if no other worker is there, it refuses new clients while it waits for the door.
DOOR_SHUT = r"cannot reach the workers of [^\"]*"
# A worker that is recycled waits for a proxy that was frozen past its leases, but only for SHUTDOWN_GRACE.
PROXY_SILENT = r"Browser closed"
PROXY_STARVED = r"Too many open files"
NO_ROOM = rf"No space left on device|no space left on device|{ZYGOTE_LOST}"
REDIS_AWAY = r"Redis does not answer|Redis is another server than before"
NO_THREADS = r"its address cannot be looked up"  # Redis', for which a proxy needs a thread
REDIS_FULL = r"Redis refuses"  # where it finds too little to evict

KINDS = (
    Kind("worker.kill", Target.WORKER, WORKER_LOST),
    Kind("worker.terminate", Target.WORKER, r"worker {worker} is shutting down"),
    Kind("worker.drain", Target.WORKER),
    Kind("worker.pause", Target.WORKER, lasts_s=SHORT_S),
    Kind("worker.freeze", Target.WORKER, WORKER_SILENT, LONG_S),
    Kind("worker.descriptors", Target.WORKER, lasts_s=LONG_S),
    Kind("worker.unspawned", Target.WORKER, WORKER_LOST, SPAWNS_FAIL_S),
    Kind("worker.unreadable", Target.WORKER, WORKER_LOST),
    Kind("driver.kill", Target.WORKER, DRIVER_LOST),
    Kind("driver.pause", Target.WORKER, lasts_s=SHORT_S),
    Kind("driver.freeze", Target.WORKER, lasts_s=LONG_S),
    Kind("driver.descriptors", Target.WORKER, lasts_s=LONG_S),
    Kind("browser.kill", Target.WORKER, BROWSER_LOST),
    Kind("browser.pause", Target.WORKER, lasts_s=SHORT_S),
    Kind("browser.freeze", Target.WORKER, lasts_s=LONG_S),
    Kind("own-browser.kill", Target.WORKER, OWN_LOST),
    Kind("browsers-group.kill", Target.WORKER, BROWSER_LOST),
    Kind("own-browser.pause", Target.WORKER, lasts_s=SHORT_S),
    Kind("browsers-group.freeze", Target.WORKER, lasts_s=LONG_S),
    Kind("zygote.kill", Target.WORKER, ZYGOTE_LOST),
    Kind("renderer.kill", Target.WORKER, PAGE_LOST),
    Kind("tree.kill", Target.WORKER, WORKER_LOST),
    Kind("tree.freeze", Target.WORKER, WORKER_SILENT, LONG_S),
    Kind("proxy.kill", Target.PROXY, PROXY_LOST),
    Kind("proxy.terminate", Target.PROXY, PROXY_STOPS),
    Kind("proxy.pause", Target.PROXY, lasts_s=SHORT_S),
    Kind("proxy.freeze", Target.PROXY, PROXY_SILENT, LONG_S),
    Kind("proxy.descriptors", Target.PROXY, PROXY_STARVED, LONG_S),
    Kind("proxy.unspawned", Target.PROXY, PROXY_LOST, SPAWNS_FAIL_S),
    Kind("mcp.kill", Target.AGENTS, AGENTS_LOST),
    Kind("mcp.pause", Target.AGENTS, lasts_s=LONG_S),
    Kind("redis.kill", Target.REDIS, REDIS_AWAY),
    Kind("redis.pause", Target.REDIS, lasts_s=SHORT_S),
    Kind("redis.freeze", Target.REDIS, REDIS_AWAY, LONG_S),
    Kind("redis.forget", Target.REDIS),
    Kind("redis.hangup", Target.REDIS),
    Kind("redis.unspawned", Target.REDIS, REDIS_AWAY, SPAWNS_FAIL_S),
    Kind("redis.evict", Target.REDIS, REDIS_FULL, SHORT_S),
    Kind("redis.delete", Target.REDIS),
    Kind("redis.failover", Target.REDIS, lasts_s=LOST_WRITES_S),
    Kind("appliance.forks", Target.APPLIANCE, ZYGOTE_LOST, SPAWNS_FAIL_S, needs_machine=True),
    Kind("appliance.disk", Target.APPLIANCE, NO_ROOM, LONG_S, needs_machine=True),
    Kind("appliance.cut-off", Target.ROUTE, DOOR_SHUT, lasts_s=LONG_S, needs_machine=True),
    Kind("client.bind", Target.CLIENT),
    Kind("client.devtools", Target.CLIENT),
    Kind("client.file", Target.CLIENT),
    Kind("client.long-name", Target.CLIENT),
    Kind("client.large-message", Target.CLIENT),
    Kind("client.large-result", Target.CLIENT, DRIVER_OVERWHELMED),
)


def possible(on_own_machine: bool) -> list[Kind]:
    """Return the kinds that can be injected."""
    return [kind for kind in KINDS if on_own_machine or not kind.needs_machine]
