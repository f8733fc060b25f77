"""Connections to Redis: how they are made, and which server is at the other end."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from appliance.errors import SettingsError

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 2.0

AWAY = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError, redis.ReadOnlyError)
_RUN_ID = re.compile(r"^run_id:(\w+)", re.MULTILINE)


class _Retry(Retry):
    """Counts what a machine without threads says as a connection that fails: gevent looks addresses up in threads."""

    def call_with_retry(self, *args: Any, **options: Any) -> Any:
        """Connect, as redis-py means it."""
        try:
            return super().call_with_retry(*args, **options)
        except RuntimeError as error:
            raise redis.ConnectionError(f"its address cannot be looked up: {error}") from error


class Line:
    """One connection to Redis, for one caller at a time, and the run id of its server."""

    def __init__(self, connection: redis.Connection) -> None:
        """Wrap an open connection that nobody else uses."""
        self.connection = connection
        self.server = ""
        self.is_clear = True  # no answer is awaited on it

    def ask(self, *command: Any) -> Any:
        """Send a command and return the answer."""
        self.is_clear = False
        self.connection.send_command(*command)  # type: ignore[no-untyped-call]
        try:
            answer = self.connection.read_response()
        except redis.ResponseError as error:
            self.is_clear = not isinstance(error, AWAY)
            raise
        self.is_clear = True
        return answer

    def identify(self) -> None:
        """Read the server's run id, if this user may ask for it."""
        try:
            found = _RUN_ID.search(str(self.ask("INFO", "server")))
        except redis.ResponseError as error:
            if isinstance(error, AWAY):
                raise
            return
        self.server = found.group(1) if found else ""


def connect(url: str) -> redis.Redis:
    """Return a client for a URL: redis://, rediss://, unix:// or redis+sentinel://.

    The last has the form `redis+sentinel://[user:password@]host:port[,host:port…]/service[/db]`.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "protocol": 2,  # its parser is the cheaper one, and nothing here needs RESP3
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": ANSWER_TIMEOUT_S,
        "retry": _Retry(ExponentialBackoff(cap=0.3, base=0.05), 0),
        "health_check_interval": 0,
    }
    parts = urlsplit(url)
    if parts.scheme == "redis+sentinel":
        return _connect_by_sentinel(parts, options)
    if parts.scheme == "unix":
        options.pop("socket_connect_timeout")
    return redis.Redis.from_url(url, **options)


def _connect_by_sentinel(parts: SplitResult, options: dict[str, Any]) -> redis.Redis:
    hosts = parts.netloc.rpartition("@")[2].split(",")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise SettingsError(
            "REDIS_URL names no Sentinel service", "Write redis+sentinel://host:26379,host:26379/SERVICE/0."
        )
    addresses = []
    for host in hosts:
        name, _, port = host.rpartition(":")
        addresses.append((name, int(port)) if name else (port, 26379))
    sentinel = Sentinel(addresses, sentinel_kwargs={"socket_timeout": CONNECT_TIMEOUT_S})  # type: ignore[no-untyped-call]
    for name in ("username", "password"):
        options[name] = unquote(getattr(parts, name) or "") or None
    options["db"] = int(database or 0)
    client: redis.Redis = sentinel.master_for(service, **options)  # type: ignore[no-untyped-call]
    return client
