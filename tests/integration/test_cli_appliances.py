"""`applctl appliance drain --wait` on a real Redis: how the wait ends if the drain ends otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli import main
from appliance.grid.appliances import Appliances
from appliance.grid.grid import Registry
from tests.support.announced import announcement
from tests.support.waiting import until

Wait = Callable[[], "Future[Result]"]


@pytest.fixture
def appliances(registry: Registry) -> Appliances:
    """Give one, `here`, whose proxy relays a session."""
    Appliances(registry).announce(announcement("here", relayed=1))
    registry.renew("here.abcdef", {}, 60_000)
    return Appliances(registry)


@pytest.fixture
def wait(
    settings_file: Path, redis_url: str, appliances: Appliances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Wait]:
    """Give what begins to wait until `here` is drained, in a thread."""
    values = {"RUN_DIR": tmp_path, "REDIS_URL": redis_url, "GRID_NAMESPACE": "test"}
    for name, value in {**values, "LEASE_TTL": 1, "LEASE_RENEW_INTERVAL": 0.3}.items():
        monkeypatch.setenv(name, str(value))

    def begin() -> Future[Result]:
        command = ["appliance", "drain", "here", "--wait", "--timeout", "20"]
        waiting = threads.submit(CliRunner().invoke, main, command, prog_name="applctl")
        until(lambda: status(appliances) == "draining", "it drains")
        return waiting

    with ThreadPoolExecutor() as threads:
        yield begin


def status(appliances: Appliances) -> str:
    state = appliances.state("here")
    return state.status.value if state else "unknown"


def test_it_waits_until_no_session_is_left(wait: Wait, appliances: Appliances) -> None:
    waiting = wait()
    appliances.announce(announcement("here"))
    assert waiting.result(10).exit_code == 0


def test_who_serves_redis_to_others_is_not_said_to_be_safe_to_stop(
    wait: Wait, registry: Registry, appliances: Appliances
) -> None:
    appliances.announce(announcement("there"))
    registry.renew("there.abcdef", {}, 60_000)
    waiting = wait()
    appliances.announce(announcement("here", serves_redis=True))
    result = waiting.result(10)
    assert (result.exit_code, "its Redis is used by 1 other" in result.stderr) == (1, True)


def test_an_appliance_that_was_undrained_meanwhile_is_not_waited_for(wait: Wait, appliances: Appliances) -> None:
    waiting = wait()
    appliances.undrain_appliance("here")
    result = waiting.result(10)
    assert (result.exit_code, "here was undrained" in result.stderr) == (1, True)


def test_an_appliance_of_which_nothing_is_heard_any_more_is_not_said_to_be_safe_to_stop(
    wait: Wait, registry: Registry
) -> None:
    waiting = wait()
    registry.store.read(("FLUSHALL",))
    result = waiting.result(10)
    assert (result.exit_code, "here is gone" in result.stderr) == (1, True)
