"""What the firewall's keeper does with the appliance while the rules cannot be loaded."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import FirewallError
from appliance.grid.grid import Grid
from appliance.grid.records import ApplianceStatus
from appliance.machine.firewall import Values, holder, keeper
from appliance.machine.firewall.keeper import Keeper
from appliance.settings import config
from tests.support.announced import announcement

Look = Callable[[Exception | None], ApplianceStatus]
REFUSED = FirewallError("nft -f -: Operation not permitted")


@pytest.fixture
def start(pair: Grid, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Look]:
    """Start a keeper of `here`, and end the one before. It looks when it is called; then that returns the status."""
    monkeypatch.setattr(keeper, "is_loaded", lambda _: True)
    monkeypatch.setattr(holder, "_FOLDER", tmp_path)
    settings = config.load(redis_url=redis_url, grid_namespace="test", appliance_name="here")

    keepers: list[Keeper] = []

    def start() -> Look:
        for ended in keepers:
            if ended._held:
                ended._held.close()
        one = Keeper(settings)
        keepers.append(one)

        def look(hindrance: Exception | None) -> ApplianceStatus:
            def values(_: object) -> Values:
                if hindrance:
                    raise hindrance
                return Values(65534)

            monkeypatch.setattr(keeper, "values_of", values)
            one.look()
            state = pair.appliance("here")
            assert state
            return state.status

        return look

    return start


@pytest.fixture
def look(start: Callable[[], Look]) -> Look:
    """Let one and the same keeper look."""
    return start()


@pytest.mark.parametrize(
    "hindrance",
    [REFUSED, OSError("no memory"), ValueError("no address"), subprocess.TimeoutExpired("nft", 30)],
    ids=lambda error: type(error).__name__,
)
def test_whatever_hinders_a_keeper_it_drains_the_appliance_and_goes_on(look: Look, hindrance: Exception) -> None:
    assert look(None) is ApplianceStatus.SERVING
    assert look(hindrance) is not ApplianceStatus.SERVING
    assert look(hindrance) is not ApplianceStatus.SERVING
    assert look(None) is ApplianceStatus.SERVING


def test_a_keeper_ends_the_drain_of_the_one_before_it(start: Callable[[], Look]) -> None:
    assert start()(REFUSED) is not ApplianceStatus.SERVING
    assert start()(None) is ApplianceStatus.SERVING


def test_an_operators_own_drain_outlasts_it(look: Look, pair: Grid) -> None:
    pair.drain_appliance("here", "for an update")
    assert look(REFUSED) is not ApplianceStatus.SERVING
    assert look(None) is not ApplianceStatus.SERVING


def test_a_drain_that_an_operator_asks_for_meanwhile_outlasts_it(start: Callable[[], Look], pair: Grid) -> None:
    look = start()
    look(REFUSED)
    pair.drain_appliance("here", "for an update")
    look(REFUSED)
    assert look(None) is not ApplianceStatus.SERVING
    assert start()(None) is not ApplianceStatus.SERVING


def test_a_drain_that_redis_forgot_is_still_the_keepers(look: Look, pair: Grid) -> None:
    look(REFUSED)
    pair.store.read(("FLUSHALL",))
    pair.announce(announcement("here", drained=True, epoch=1))
    assert look(REFUSED) is not ApplianceStatus.SERVING
    assert look(None) is ApplianceStatus.SERVING
