"""What the guard's keeper does with the appliance while the rules cannot be loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import config, keeper
from appliance.errors import GuardError
from appliance.guard import Values, holder
from appliance.keeper import Keeper
from appliance.models import ApplianceStatus
from appliance.registry import Appliances

Look = Callable[[bool], ApplianceStatus]


@pytest.fixture
def look(appliances: Appliances, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Give what lets the keeper of `here` look once, while the rules can be loaded or not; gives the status then."""
    monkeypatch.setattr(keeper, "is_loaded", lambda _: True)
    monkeypatch.setattr(holder, "_FOLDER", tmp_path)
    one = Keeper(config.load(redis_url=redis_url, grid_namespace="test", appliance_name="here"))

    def run(can_be_loaded: bool) -> ApplianceStatus:
        def values(_: object) -> Values:
            if can_be_loaded:
                return Values(65534)
            raise GuardError("nft -f -: Operation not permitted")

        monkeypatch.setattr(keeper, "values_of", values)
        one.look()
        state = appliances.state("here")
        assert state
        return state.status

    return run


def test_while_they_cannot_be_loaded_the_appliance_is_given_no_sessions(look: Look) -> None:
    assert look(True) is ApplianceStatus.SERVING
    assert look(False) is not ApplianceStatus.SERVING
    assert look(False) is not ApplianceStatus.SERVING
    assert look(True) is ApplianceStatus.SERVING


def test_an_operators_own_drain_outlasts_it(look: Look, appliances: Appliances) -> None:
    appliances.drain_appliance("here", "for an update")
    assert look(False) is not ApplianceStatus.SERVING
    assert look(True) is not ApplianceStatus.SERVING
