"""Redis with Sentinel: when the master dies, the grid goes on with its successor."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from appliance.grid.grid import Grid
from appliance.grid.mailbox import Mailbox
from appliance.grid.session import Session
from appliance.grid.sessions import Sessions
from appliance.grid.store import Store
from appliance.grid.values import SessionRequest
from appliance.names import Browser
from appliance.request_errors import NoSlot, StoreUnavailable
from appliance.settings import config
from tests.support.appliance import free_port
from tests.support.claims import claim, spec
from tests.support.waiting import until

QUORUM = 2
WANTED = SessionRequest(Browser.CHROMIUM, "1.65")
SENTINEL = """\
bind 127.0.0.1
port {port}
dir {folder}
sentinel monitor grid 127.0.0.1 {master} {quorum}
sentinel down-after-milliseconds grid 2000
sentinel failover-timeout grid 2000
"""


class Servers:
    """A master with two replicas, and three Sentinels that watch them."""

    def __init__(self, folder: Path, to_be_stopped: ExitStack) -> None:
        """Start them, and wait until all know each other."""
        self._folder, self._to_be_stopped = folder, to_be_stopped
        self.ports = [free_port() for _ in range(3)]
        self.sentinels = [free_port() for _ in range(3)]
        self.master, *_ = (self._start_redis(port) for port in self.ports)
        for port in self.sentinels:
            self._start_sentinel(port)
        until(self._are_acquainted, "the Sentinels know both replicas and each other", 60)

    @property
    def url(self) -> str:
        """What the appliances' REDIS_URL would be."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.sentinels)}/grid/0"

    def _start_redis(self, port: int) -> subprocess.Popen[bytes]:
        replica = ["--replicaof", "127.0.0.1", str(self.ports[0])] if port != self.ports[0] else []
        options = ["--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0", "--save", "", "--dir", str(self._folder)]
        return self._start("--port", str(port), *replica, *options)

    def _start_sentinel(self, port: int) -> None:
        folder = self._folder / str(port)
        folder.mkdir()
        (folder / "sentinel.conf").write_text(
            SENTINEL.format(port=port, folder=folder, master=self.ports[0], quorum=QUORUM)
        )
        self._start(str(folder / "sentinel.conf"), "--sentinel")

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        self._to_be_stopped.callback(server.wait)
        self._to_be_stopped.callback(server.kill)
        return server

    def lose_contact(self) -> None:
        """Keep what the master does from now on from its replicas. The Sentinels would mend that after 8 s."""
        for replica in self.ports[1:]:
            redis.Redis(port=replica).replicaof("127.0.0.1", str(free_port()))

    def _are_acquainted(self) -> bool:
        try:
            known = [redis.Redis(port=port).sentinel_master("grid") for port in self.sentinels]
        except redis.RedisError:
            return False
        return all((one["num-slaves"], one["num-other-sentinels"]) == (2, 2) for one in known)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with ExitStack() as to_be_stopped:
        yield Servers(tmp_path, to_be_stopped)


def answers(call: Callable[[], object]) -> Callable[[], bool]:
    """Return a condition: Redis is there for this call."""

    def is_there() -> bool:
        try:
            call()
        except StoreUnavailable:
            return False
        return True

    return is_there


def test_after_a_failover_the_grid_goes_on_with_the_new_master(servers: Servers) -> None:
    store = Store(servers.url, "test")
    grid, messages = Grid(store), []
    mailbox = Mailbox(store, "worker", "A", messages.append)
    listener = threading.Thread(target=mailbox.run, daemon=True)
    listener.start()
    assert mailbox.wait_until_listening(30)
    grid.register_worker(spec("A"))
    assert claim(grid, "before")["worker"] == "A"
    store.read(("WAIT", 2, 5000))
    servers.master.kill()
    until(answers(lambda: grid.heartbeat_worker("A", 0)), "there is a new master", 60)
    assert claim(grid, "after")["worker"] == "A"
    assert grid.workers()[0].active == 2, "it knows what the old one knew"

    def is_told() -> bool:
        store.read(("PUBLISH", store.key("worker", "A"), '{"drained": true}'))
        return {"drained": True} in messages and {"resubscribed": True} in messages

    until(is_told, "messages come from the new master")
    mailbox.close()
    listener.join()
    store.close()


def test_a_redis_that_was_restarted_is_told_what_is_relayed_without_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_ENV", os.devnull)
    path = Path(tempfile.mkdtemp(prefix="grid-")) / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    store = Store(f"unix://{path}", "test")
    grid = Grid(store)
    sessions = Sessions(grid, config.load(queue_timeout=5), "here.1")
    servers = set()
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            until(answers(lambda: store.read(("PING",))), "Redis answers")
            sessions.renew()
            servers.add(sessions._leases.server)
            grid.register_worker(spec("A"))
            with sessions.open(WANTED, ignore) as session:
                assert session.grant
            server.kill()
    assert len(servers) == 2
    store.close()


def ignore(_: Session) -> None:
    """Watch nothing."""


def test_a_failover_that_lost_writes_ends_no_session_and_gives_no_slot_twice(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims that the master has granted and not passed on are asserted before the next claim is made."""
    monkeypatch.setenv("APPLIANCE_ENV", os.devnull)
    store = Store(servers.url, "test")
    grid = Grid(store)
    sessions = Sessions(grid, config.load(queue_timeout=1), "here.1")
    grid.register_worker(spec("A", concurrency=1, ttl_ms=60_000))
    sessions.renew()
    store.read(("WAIT", 2, 5000))
    servers.lose_contact()
    told: list[str] = []
    with sessions.open(WANTED, ignore) as running:
        running.relay(lambda reason, _: told.append(reason))
        assert running.grant
        servers.master.kill()
        until(answers(grid.sessions), "there is a new master", 60)
        assert not grid.sessions(), "the new master has never heard of the session"
        with pytest.raises(NoSlot), sessions.open(WANTED, ignore):
            pytest.fail("the slot was given twice")
        assert [worker.active for worker in grid.workers()] == [1]
        assert told == []
    until(lambda: _is_released(sessions, grid), "the slot is free", 60)
    store.close()


def _is_released(sessions: Sessions, grid: Grid) -> bool:
    """Renew as a proxy does, which also releases what could not be released before; perhaps Redis is away again."""
    try:
        sessions.renew()
        return [worker.active for worker in grid.workers()] == [0]
    except StoreUnavailable:
        return False
