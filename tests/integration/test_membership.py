"""What a proxy says of its appliance, and what it makes of the answers, on a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from appliance import config
from appliance.config import Settings
from appliance.models import ApplianceState
from appliance.registry import Appliances, Registry
from proxy.departure import Departure
from proxy.membership import Membership
from tests.announced import announcement


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("APPLIANCE_ENV", str(tmp_path / "none"))
    settings = config.load(run_dir=tmp_path, appliance_name="here", drain_notice=0.3)
    settings.memory.begin_run()
    return settings


@pytest.fixture
def appliances(registry: Registry) -> Appliances:
    """Two appliances: `here`, whose proxy lives but has said nothing yet, and `there`, which serves."""
    Appliances(registry).announce(announcement("there"))
    registry.renew("here.abcdef", [], 60_000)
    return Appliances(registry)


def member(settings: Settings, appliances: Appliances) -> tuple[Membership, Departure]:
    departure = Departure(settings.drain_notice)
    return Membership(settings, appliances, "here.abcdef", departure), departure


def eventually(condition: Callable[[], object]) -> None:
    """Wait for what another greenlet does."""
    with gevent.Timeout(5):
        while not condition():
            gevent.sleep(0.01)


def record(registry: Registry) -> dict[str, str]:
    (fields,) = registry.store.read(("HGETALL", registry.store.key("appliance", "here")))
    return dict(fields)


def state(appliances: Appliances) -> ApplianceState:
    state = appliances.state("here")
    assert state
    return state


def forget_settling(registry: Registry) -> None:
    registry.store.read(("HSET", registry.store.key("appliance", "here"), "settle_ms", 0))


def test_it_may_not_be_stopped_before_the_notice_is_over_which_is_announced_at_once(
    settings: Settings, registry: Registry, appliances: Appliances
) -> None:
    membership, departure = member(settings, appliances)
    membership.announce()
    appliances.drain_appliance("here", "drained by operator")
    membership.announce()
    forget_settling(registry)
    assert departure.refusal() is None
    assert not state(appliances).safe_to_stop
    eventually(departure.refusal)
    eventually(lambda: record(registry)["admits"] == "0")
    forget_settling(registry)
    assert state(appliances).safe_to_stop


def test_it_remembers_which_turn_of_its_drains_it_has_heard_of(settings: Settings, appliances: Appliances) -> None:
    membership, _ = member(settings, appliances)
    membership.announce()
    appliances.drain_appliance("here", "drained by operator")
    appliances.undrain_appliance("here")
    membership.announce()
    assert (settings.memory.read().drained, settings.memory.read().turn) == (False, 2)


def test_where_no_other_serves_it_may_be_stopped_as_soon_as_it_was_told(
    settings: Settings, registry: Registry, appliances: Appliances
) -> None:
    appliances.drain_appliance("there", "drained by operator")
    membership, _ = member(settings, appliances)
    membership.announce()
    appliances.drain_appliance("here", "drained by operator")
    membership.announce()
    forget_settling(registry)
    assert state(appliances).safe_to_stop
