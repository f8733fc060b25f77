"""What tests of several kinds share: a real Redis, and waiting for a condition."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.settings.config import Settings
from tests.support.redis_server import redis_server

# How long an example takes says nothing on a busy machine; how long a test takes, pytest's time-out says.
settings.register_profile("appliance", deadline=None)
settings.load_profile("appliance")

_LONGEST_FIRST = ("tests/integration/test_model.py", "tests/system/", "tests/attacks/", "tests/integration/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules: one that began last would keep one process busy, and the others idle."""

    def place(item: pytest.Item) -> int:
        starts = enumerate(_LONGEST_FIRST)
        return next((number for number, start in starts if item.nodeid.startswith(start)), len(_LONGEST_FIRST))

    items.sort(key=place)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Make a folder whose path is short enough for the unix sockets below it, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Run a real Redis server for the whole run."""
    with redis_server() as url:
        yield url


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """Provide a store whose Redis is empty."""
    store = Store(redis_url, "test")
    store.read(("FLUSHALL",))
    yield store
    store.close()


@pytest.fixture
def grid(store: Store) -> Grid:
    """Return a grid whose Redis is empty."""
    return Grid(store)


@pytest.fixture
def settings_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let no setting of this machine into a test; returns the settings file, which is not there yet."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("APPLIANCE_ENV", str(tmp_path / "appliance.env"))
    return tmp_path / "appliance.env"
