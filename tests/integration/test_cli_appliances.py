"""`applctl appliance drain --wait` on a real Redis: how the wait ends if the drain ends otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.application import main
from appliance.grid.grid import Grid
from tests.support.announced import announcement
from tests.support.waiting import until

Wait = Callable[[], "Future[Result]"]


@pytest.fixture
def appliances(grid: Grid) -> Grid:
    """Provide one, `here`, whose proxy relays a session."""
    grid.announce(announcement("here", relayed=1))
    grid.renew("here.abcdef", {}, 60_000)
    return grid


@pytest.fixture
def wait(
    settings_file: Path, redis_url: str, pair: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Wait]:
    """Provide what begins to wait until `here` is drained, in a thread."""
    values = {"RUN_DIR": tmp_path, "REDIS_URL": redis_url, "GRID_NAMESPACE": "test"}
    for name, value in {**values, "LEASE_TTL": 1, "LEASE_RENEW_INTERVAL": 0.3}.items():
        monkeypatch.setenv(name, str(value))

    def begin() -> Future[Result]:
        command = ["appliance", "drain", "here", "--wait", "--timeout", "60"]
        waiting = threads.submit(CliRunner().invoke, main, command, prog_name="applctl")
        until(lambda: status(pair) == "draining", "it drains")
        return waiting

    with ThreadPoolExecutor() as threads:
        yield begin


def status(grid: Grid) -> str:
    state = grid.appliance("here")
    return state.status.value if state else "unknown"


def test_it_waits_until_no_session_is_left(wait: Wait, pair: Grid) -> None:
    waiting = wait()
    pair.announce(announcement("here"))
    assert waiting.result(60).exit_code == 0


def test_who_serves_redis_to_others_is_not_said_to_be_safe_to_stop(wait: Wait, pair: Grid) -> None:
    pair.announce(announcement("there"))
    pair.renew("there.abcdef", {}, 60_000)
    waiting = wait()
    pair.announce(announcement("here", serves_redis=True))
    result = waiting.result(60)
    assert (result.exit_code, "its Redis is used by 1 other" in result.stderr) == (1, True)


def test_an_appliance_that_was_undrained_meanwhile_is_not_waited_for(wait: Wait, pair: Grid) -> None:
    waiting = wait()
    pair.undrain_appliance("here")
    result = waiting.result(60)
    assert (result.exit_code, "here was undrained" in result.stderr) == (1, True)


def test_an_appliance_that_is_not_heard_any_more_is_not_safe_to_stop(wait: Wait, grid: Grid) -> None:
    waiting = wait()
    grid.store.read(("FLUSHALL",))
    result = waiting.result(60)
    assert (result.exit_code, "here is gone" in result.stderr) == (1, True)
