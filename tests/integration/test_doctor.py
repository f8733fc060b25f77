"""The doctor's look at a real Redis, and at what only answers as an old one."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance.checks.redis import check_shared_redis as check_redis
from appliance.grid.grid import Grid
from appliance.settings import config
from appliance.settings.config import Settings


@pytest.fixture
def settings(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("APPLIANCE_ENV", "/nowhere")
    return config.load(redis_url=redis_url)


@pytest.fixture
def few_connections(grid: Grid) -> Iterator[None]:
    """Let Redis take hardly more connections than there are."""
    info = grid.store.ping()
    grid.store.read(("CONFIG", "SET", "maxclients", info["connected_clients"] + 2))
    try:
        yield
    finally:
        grid.store.read(("CONFIG", "SET", "maxclients", info["maxclients"]))


@pytest.fixture
def limited_user(settings: Settings, grid: Grid) -> Iterator[None]:
    """Let the settings name a user of Redis who may use it, but not run it."""
    grid.store.read(("ACL", "SETUSER", "grid", "on", ">secret", "~*", "&*", "+@all", "-@dangerous"))
    settings.redis_url = settings.redis_url.replace("://", "://grid:secret@")
    yield
    grid.store.read(("ACL", "DELUSER", "grid"))


def found(settings: Settings) -> list[str]:
    return [check.status for check in check_redis(settings)]


def test_a_redis_that_answers_and_takes_more_connections_is_well(settings: Settings, grid: Grid) -> None:
    assert found(settings) == ["ok", "ok"]


def test_it_warns_before_redis_takes_no_more_connections(settings: Settings, few_connections: None) -> None:
    assert found(settings) == ["ok", "warning"]


def test_a_redis_that_lets_nobody_in_is_told_from_one_that_is_away(settings: Settings) -> None:
    settings.redis_url = settings.redis_url.replace("://", "://nobody:wrong@")
    (check,) = check_redis(settings)
    assert (check.status, "REDIS_URL" in check.remedy) == ("failed", True)
    assert check.finding.startswith("Redis refuses: ")


def test_a_user_who_may_not_ask_for_the_version_is_welcome(settings: Settings, limited_user: None) -> None:
    assert found(settings) == ["ok"]


def test_a_user_who_may_not_call_functions_is_told(settings: Settings, limited_user: None, grid: Grid) -> None:
    grid.store.read(("ACL", "SETUSER", "grid", "-fcall"))
    (check,) = check_redis(settings)
    assert (check.status, "permissions" in check.remedy) == ("failed", True)


def test_a_redis_that_evicts_the_grids_keys_is_named(settings: Settings, grid: Grid) -> None:
    try:
        for policy, status in {"allkeys-lfu": "failed", "allkeys-random": "failed", "volatile-lru": "ok"}.items():
            grid.store.read(("CONFIG", "SET", "maxmemory-policy", policy))
            check, *_ = check_redis(settings)
            assert (check.status, policy in check.finding) == (status, status == "failed")
            assert status == "ok" or "noeviction" in check.remedy
    finally:
        grid.store.read(("CONFIG", "SET", "maxmemory-policy", "noeviction"))


def test_a_redis_that_is_too_old_is_named(settings: Settings) -> None:
    with an_old_redis() as port:
        settings.redis_url = f"redis://127.0.0.1:{port}"
        (check,) = check_redis(settings)
    assert (check.status, check.finding) == ("failed", "Redis 6.0.16 has no Functions")


@contextmanager
def an_old_redis() -> Iterator[int]:
    """Answer as Redis 6 does, which takes INFO with one section at most and has no Functions; returns the port."""
    info = b"redis_version:6.0.16\r\nconnected_clients:1\r\nmaxclients:10000\r\n"
    answers = {(b"INFO",): b"$%d\r\n%s\r\n" % (len(info), info)}

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while count := self.rfile.readline():
                words = tuple(self._word() for _ in range(int(count[1:])))
                is_introduction = words[0] == b"CLIENT"
                answer = b"+OK\r\n" if is_introduction else answers.get(words, b"-ERR unknown command\r\n")
                self.wfile.write(answer)

        def _word(self) -> bytes:
            return self.rfile.read(int(self.rfile.readline()[1:]) + 2).removesuffix(b"\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
