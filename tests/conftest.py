"""What tests of several kinds share: a real Redis, and waiting for a condition."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.registry import Registry
from appliance.store import Store
from tests.waiting import until


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Start a real Redis server, on a unix socket, for the whole run."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    assert program, "redis-server is missing: `applctl setup` installs it"
    with tempfile.TemporaryDirectory(prefix="appliance-redis-") as folder:
        path = Path(folder) / "redis.sock"
        arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder]
        server = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL)
        try:
            until(path.exists, "Redis listens")
            yield f"unix://{path}"
        finally:
            server.terminate()
            server.wait()


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """Give a store whose Redis is empty."""
    store = Store(redis_url, "test")
    store.read(("FLUSHALL",))
    yield store
    store.close()


@pytest.fixture
def registry(store: Store) -> Registry:
    """Give a registry whose Redis is empty."""
    return Registry(store)
