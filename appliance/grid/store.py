"""Redis: the connection, the names of the keys, and the Lua library that changes them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from appliance.grid.client import ANSWER_TIMEOUT_S, Line, connect
from appliance.request_errors import ServerChanged, StoreRefuses, StoreUnavailable

LUA_FOLDER = Path(__file__).parent / "lua"
LUA_COMMON = ("keys", "clock", "door")  # whose names all other files use
LUA_FILES = (
    *("workers", "pools", "recycling", "queue", "history", "sessions", "wishes", "leases", "appliances"),
    *("registration", "counts", "reaper", "tokens", "secret"),
)

SCHEMA = 7  # what the keys mean; raised when that changes, so that two versions are two grids beside each other

CONNECTIONS_MAX = 16  # at a time; more would not be quicker, for Redis works through commands one by one
EVICTS_ANY = "allkeys-"  # policies that begin so
HASHES_AT_ONCE = 100
RETRIES = 3  # of a connection: with the back-off below, half a second

_SHUT = (
    *(redis.AuthenticationError, redis.AuthenticationWrongNumberOfArgsError),
    *(redis.exceptions.AuthorizationError, redis.exceptions.NoPermissionError),
)


@cache
def library() -> tuple[str, str]:
    """Return the hash of the Lua library's text, and the text as Redis loads it."""
    common = [(LUA_FOLDER / f"{name}.lua").read_text() for name in LUA_COMMON]
    others = [f"do\n{(LUA_FOLDER / f'{name}.lua').read_text()}end" for name in LUA_FILES]  # names of their own
    body = "\n".join(common + others)
    digest = hashlib.sha256(body.encode()).hexdigest()[:12]
    return digest, f"#!lua name=appliance_{digest}\n" + body.replace("@HASH@", digest)


class Store:
    """One Redis and one namespace in it.

    Every call raises StoreUnavailable if Redis stays away through a short, bounded retry. The
    library's functions may be repeated, so a retry after a lost answer changes nothing.
    """

    def __init__(self, url: str, namespace: str) -> None:
        """Set the URL, as in REDIS_URL, and the namespace; nothing is connected yet."""
        self.url = url
        self._root = f"{{{namespace}}}:"
        self.prefix = f"{self._root}{SCHEMA}:"
        self._redis = connect(url)
        self._retry = Retry(
            ExponentialBackoff(cap=0.3, base=0.05),
            RETRIES,
            supported_errors=(redis.ConnectionError, redis.ReadOnlyError),  # to wait for an answer twice is too long
        )
        self._idle: list[Line] = []
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def key(self, *parts: str) -> str:
        """Return the name of a key: `key("worker", id)`."""
        return self.prefix + ":".join(parts)

    def shared_key(self, *parts: str) -> str:
        """Return the name of a key that every schema shares: `shared_key("tokens")`."""
        return self._root + ":".join(parts)

    def call(self, function: str, **argument: Any) -> dict[str, Any]:
        """Call a function of the Lua library, loading the library if Redis does not have it."""
        return self.call_on(None, function, **argument)

    def call_on(self, server: str | None, function: str, **argument: Any) -> dict[str, Any]:
        """Call a function as `call` does. Raises ServerChanged if Redis is not the server of this run id (`server`)."""
        digest, text = library()
        command = ("FCALL", f"{function}_{digest}", 1, self.prefix, json.dumps(argument))
        try:
            answer = self._ask_library(text, server, *command)
        except redis.RedisError as error:
            raise _unavailable(error) from error
        result: dict[str, Any] = json.loads(answer)
        return result

    def call_in_slices(self, function: str, **argument: Any) -> Iterator[dict[str, Any]]:
        """Call a function from the cursor "0" on until it is "0" again; Redis serves others in between."""
        cursor, is_done = "0", False
        while not is_done:
            answer = self.call(function, cursor=cursor, **argument)
            cursor, is_done = answer["cursor"], answer["cursor"] == "0"
            yield answer

    def server(self) -> str:
        """Return the run id of the server, "" if this user may not ask for it. Raises StoreUnavailable.

        A failover changes it, and so does a restart.
        """
        try:
            return str(self._ask(None))
        except redis.RedisError as error:
            raise _unavailable(error) from error

    def _ask_library(self, text: str, server: str | None, *command: Any) -> Any:
        """Call a function, loading the library if Redis has lost it."""
        try:
            return self._ask(server, *command)
        except redis.ResponseError as error:
            if "function not found" not in str(error).lower():
                raise
        return self._retry.call_with_retry(lambda: self._load_and_ask(text, *command), lambda _: None)

    def _load_and_ask(self, text: str, *command: Any) -> Any:
        """Load the library and call a function in one transaction, so that it cannot be lost in between.

        Other callers may load it at the same time. It does not replace theirs: that takes Redis 40 times as long as
        the error that it is there.
        """
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.execute_command("FUNCTION", "LOAD", text)  # type: ignore[no-untyped-call]
        pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        loaded, answer = pipeline.execute(raise_on_error=False)
        if isinstance(answer, redis.RedisError):
            is_there = not isinstance(loaded, redis.RedisError) or "already exists" in str(loaded)
            raise answer if is_there else loaded
        return answer

    def _ask(self, server: str | None, *command: Any) -> Any:
        """Send one command on a kept connection, and again if Redis was away.

        redis-py's pool looks for unread bytes whenever a connection is taken from it. Under gevent that costs more
        than the command (0.35 ms of 0.6 ms), and using a dead connection shows just as well that it is dead.
        """
        return self._retry.call_with_retry(lambda: self._ask_once(server, *command), lambda _: None)

    def _ask_once(self, server: str | None, *command: Any) -> Any:
        """Send a command when one of the places is free: thousands of sessions may end at once."""
        if not self._places.acquire(timeout=ANSWER_TIMEOUT_S):
            raise redis.TimeoutError(f"all {CONNECTIONS_MAX} connections wait for an answer")
        try:
            line = self._take_idle() or self._open_line()
            return self._ask_on(line, server, *command)
        except (redis.ConnectionError, redis.ReadOnlyError):  # the others go to the same server
            while idle := self._take_idle():
                self._discard(idle.connection)
            raise
        finally:
            self._places.release()

    def _ask_on(self, line: Line, server: str | None, *command: Any) -> Any:
        """Send a command, if there is one; the line is kept for the next command if its answer came."""
        try:
            if server is not None and line.server != server:
                raise ServerChanged("Redis is another server than before.")
            return line.ask(*command) if command else line.server
        finally:
            if line.is_clear:
                self._idle.append(line)
            else:  # whatever interrupted it, its answer would be the next command's
                self._discard(line.connection)

    def _open_line(self) -> Line:
        connection = self._redis.connection_pool.get_connection()
        line = Line(connection)
        try:
            line.identify()
        except BaseException:
            self._discard(connection)
            raise
        return line

    def _take_idle(self) -> Line | None:
        """Return a kept connection, None if there is none: another thread may have taken the last one."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _discard(self, connection: redis.Connection) -> None:
        connection.disconnect()  # type: ignore[no-untyped-call]
        self._redis.connection_pool.release(connection)

    def read(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Run commands that only read, in one round trip."""
        try:
            result: list[Any] = self._retry.call_with_retry(lambda: self._read_once(commands), lambda _: None)
        except redis.RedisError as error:
            raise _unavailable(error) from error
        return result

    def read_hashes(self, names: Sequence[str]) -> list[dict[str, str]]:
        """Return hashes by the names of their keys, {} for what is not there.

        They are read in slices: Redis, and a proxy's other greenlets, do not wait until thousands are read.
        """
        slices = [names[at : at + HASHES_AT_ONCE] for at in range(0, len(names), HASHES_AT_ONCE)]
        return [found for some in slices for found in self.read(*[("HGETALL", name) for name in some])]

    def _read_once(self, commands: tuple[tuple[Any, ...], ...]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        return list(pipeline.execute())

    def subscribe(self, channel: str) -> redis.client.PubSub:
        """Subscribe to one channel; raises redis.RedisError."""
        subscription: redis.client.PubSub = self._redis.pubsub()  # type: ignore[no-untyped-call]
        subscription.subscribe(channel)
        return subscription

    def ping(self) -> dict[str, Any]:
        """Return the answer to INFO; raises StoreUnavailable."""
        info: dict[str, Any] = self.read(("INFO",))[0]
        return info

    def facts(self) -> dict[str, Any]:
        """Return the answer to INFO, or nothing if this user may not ask for it."""
        try:
            return self.ping()
        except StoreRefuses as error:
            if isinstance(error.__cause__, redis.exceptions.NoPermissionError):
                return {}
            raise

    def require_keeping(self) -> None:
        """Raise StoreRefuses if Redis may evict any key when its memory is full.

        A policy that evicts only keys with an expiry (`volatile-*`) does no harm: the grid's are short-lived, or come
        back with the next call.
        """
        policy = str(self.facts().get("maxmemory_policy", ""))
        if policy.startswith(EVICTS_ANY):
            raise StoreRefuses(
                f"Redis evicts keys when its memory is full (maxmemory-policy {policy}), also those of the grid",
                "Set its maxmemory-policy to noeviction, or give the grid a Redis of its own.",
            )

    def close(self) -> None:
        """Close all connections."""
        while line := self._take_idle():
            self._redis.connection_pool.release(line.connection)
        self._redis.close()


def _unavailable(error: redis.RedisError) -> StoreUnavailable:
    if isinstance(error, _SHUT):
        return StoreRefuses(f"Redis refuses: {error}")
    verb = "does not answer" if isinstance(error, (redis.ConnectionError, redis.TimeoutError)) else "refuses"
    return StoreUnavailable(f"Redis {verb}: {error}")
