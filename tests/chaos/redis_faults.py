"""What faults do to Redis while it runs: it forgets, all at once or in part, and hangs up."""

from __future__ import annotations

import random
import time

import redis

from tests.support.waiting import until

SNAPSHOT = """
local saved = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  saved[#saved + 1] = {key, math.max(0, redis.call('PTTL', key)), redis.call('DUMP', key)}
end
return saved
"""
ACTS = ("forget", "hangup", "evict", "delete", "failover")
POLICIES = ("allkeys-lru", "allkeys-lfu", "allkeys-random")


def strike(act: str, url: str, number: int, lasts_s: float) -> str:
    """Do something to the Redis at a URL; return what was hit. Raises redis.RedisError."""
    with redis.Redis.from_url(url) as server:
        match act:
            case "forget":
                server.function_flush()
                return "its functions"
            case "hangup":
                _hang_up(server)
                return "all connections"
            case "evict":
                return _evict(server, number, lasts_s)
            case "delete":
                return _delete(server, number)
            case _:
                return _fail_over(server, lasts_s)


def _hang_up(server: redis.Redis) -> None:
    for kind in ("pubsub", "normal"):
        server.execute_command("CLIENT", "KILL", "TYPE", kind)


def _evict(server: redis.Redis, number: int, lasts_s: float) -> str:
    """Let Redis evict a part of its keys, and go on while it is at its limit."""
    policy = POLICIES[number % len(POLICIES)]
    memory = server.info("memory")
    room = memory["used_memory"] - int(memory["used_memory_dataset"] * random.Random(number).uniform(0.1, 0.6))
    before = server.info("stats")["evicted_keys"]
    try:
        server.config_set("maxmemory-policy", policy)
        server.config_set("maxmemory", room)
        time.sleep(lasts_s)
    finally:
        server.config_set("maxmemory", 0)
        server.config_set("maxmemory-policy", "noeviction")
    return f"{server.info('stats')['evicted_keys'] - before} keys by {policy}"


def _delete(server: redis.Redis, number: int) -> str:
    """Delete one key of each kind, as an eviction may."""
    kinds: dict[bytes, list[bytes]] = {}
    for key in sorted(until(lambda: server.keys("*"), "Redis holds something")):
        parts = key.split(b":")  # the namespace, the schema, the kind, whose it is, what it is
        kinds.setdefault(b":".join(parts[1:3] + parts[4:]), []).append(key)
    chance = random.Random(number)
    victims = [chance.choice(keys) for keys in kinds.values()]
    server.delete(*victims)
    return b" ".join(victims).decode()


def _fail_over(server: redis.Redis, lasts_s: float) -> str:
    """Put back what Redis held some seconds ago and cut all connections, in one step.

    So it is for clients when a replica takes over that has not had the last writes.
    """
    saved = server.eval(SNAPSHOT, 0)
    time.sleep(lasts_s)
    step = server.pipeline(transaction=True)
    step.flushall()
    for key, ttl_ms, value in saved:
        step.restore(key, ttl_ms, value)
    _hang_up_in(step)
    step.execute()
    return f"the writes of {lasts_s:.1f} s"


def _hang_up_in(step: redis.client.Pipeline) -> None:
    for kind in ("pubsub", "normal"):
        step.execute_command("CLIENT", "KILL", "TYPE", kind)
