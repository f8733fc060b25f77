"""What a proxy says of its appliance, and what it makes of the answers, on a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from appliance.deadline import Deadline
from appliance.errors import StoreUnavailable
from appliance.grid.appliances import Appliances
from appliance.grid.grid import Registry
from appliance.grid.sessions import Sessions
from appliance.grid.values import Announcement, ApplianceState, SessionRequest, Standing
from appliance.machine.record import record_of
from appliance.names import Browser
from appliance.settings import config
from appliance.settings.config import Settings
from proxy.presence import Presence
from tests.support.announced import announcement
from tests.support.claims import spec
from tests.support.greenlets import kill_greenlets


@pytest.fixture
def settings(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("APPLIANCE_ENV", str(tmp_path / "none"))
    own = {"run_dir": tmp_path, "redis_url": redis_url, "appliance_name": "here"}
    settings = config.load(**own, drain_notice=0.3, drain_timeout=0.5)
    record_of(settings).begin_run()
    return settings


@pytest.fixture
def appliances(registry: Registry) -> Appliances:
    """Two appliances: `here`, whose proxy lives but has said nothing yet, and `there`, which serves."""
    Appliances(registry).announce(announcement("there"))
    registry.renew("here.abcdef", {}, 60_000)
    return Appliances(registry)


@pytest.fixture(autouse=True)
def _no_greenlet_outlives_its_test() -> Iterator[None]:
    yield
    kill_greenlets()


def presence_of(settings: Settings, appliances: Appliances) -> Presence:
    return Presence(settings, appliances, "here.abcdef", Sessions(appliances._registry, settings, "here.abcdef"))


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
    presence = presence_of(settings, appliances)
    presence.announce()
    appliances.drain_appliance("here", "drained by operator")
    presence.announce()
    forget_settling(registry)
    assert presence.refusal() is None
    assert not state(appliances).safe_to_stop
    eventually(presence.refusal)
    eventually(lambda: record(registry)["admits"] == "0")
    forget_settling(registry)
    assert state(appliances).safe_to_stop


def test_it_remembers_which_turn_of_its_drains_it_has_heard_of(settings: Settings, appliances: Appliances) -> None:
    presence = presence_of(settings, appliances)
    presence.announce()
    appliances.drain_appliance("here", "drained by operator")
    appliances.undrain_appliance("here")
    presence.announce()
    assert (record_of(settings).read().drained, record_of(settings).read().turn) == (False, 2)


def test_sessions_that_are_left_when_drain_timeout_is_over_are_ended_and_not_before(
    settings: Settings, registry: Registry, appliances: Appliances
) -> None:
    sessions = Sessions(registry, settings, "here.abcdef")
    presence = Presence(settings, appliances, "here.abcdef", sessions)
    presence.announce()
    registry.register_worker(spec("A", appliance="there"))
    reasons: list[str] = []
    with sessions.open(SessionRequest(Browser.CHROMIUM, "1.65"), lambda _: None) as session:
        session.relay(reasons.append)
        appliances.drain_appliance("here", "drained by operator")
        before_its_end = Deadline(settings.drain_timeout - 0.1)
        presence.announce()
        assert presence.reason_to_leave()
        while not before_its_end.is_over:
            presence.announce()
            assert reasons == []
            gevent.sleep(0.02)
        eventually(lambda: presence.announce() or reasons)  # type: ignore[func-returns-value]
    assert "DRAIN_TIMEOUT of 0.5 s is over" in reasons[0]


class Late(Appliances):
    """Appliances whose answers to announcements are `delay_s` seconds on their way."""

    delay_s = 0.0

    def announce(self, announcement: Announcement) -> Standing:
        told, delay_s = super().announce(announcement), self.delay_s
        gevent.sleep(delay_s)
        return told


def test_an_answer_that_is_late_does_not_undo_what_was_said_after_it(
    settings: Settings, registry: Registry, appliances: Appliances
) -> None:
    late = Late(registry)
    presence = presence_of(settings, late)
    presence.announce()
    late.delay_s = 0.2
    earlier = gevent.spawn(presence.announce)
    gevent.sleep(0)
    appliances.drain_appliance("here", "drained by operator")
    late.delay_s = 0
    presence.announce()
    earlier.join()
    assert presence.reason_to_leave()
    assert record_of(settings).read().drained


def test_those_who_want_to_announce_while_redis_hangs_wait_for_its_time_out_together(
    settings: Settings, registry: Registry, appliances: Appliances
) -> None:
    calls = []

    class Hanging(Late):
        def announce(self, announcement: Announcement) -> Standing:
            calls.append(announcement)
            gevent.sleep(0.05)
            raise StoreUnavailable("Redis does not answer")

    presence = presence_of(settings, Hanging(registry))
    waiting = [gevent.spawn(presence.announce) for _ in range(10)]
    gevent.joinall(waiting)
    assert [type(one.exception) for one in waiting] == [StoreUnavailable] * 10
    assert len(calls) == 2, "of those who came while the first was under way"


def test_where_no_other_serves_it_may_be_stopped_as_soon_as_it_was_told(
    settings: Settings, registry: Registry, appliances: Appliances
) -> None:
    appliances.drain_appliance("there", "drained by operator")
    presence = presence_of(settings, appliances)
    presence.announce()
    appliances.drain_appliance("here", "drained by operator")
    presence.announce()
    forget_settling(registry)
    assert state(appliances).safe_to_stop


def test_a_rival_is_told_to_the_grid_once_it_is_no_earlier_run(settings: Settings, appliances: Appliances) -> None:
    """Two of one name overwrite each other's record; that one of them speaks more often makes no difference."""
    other = announcement("here", run="another", proxy="here.123456", endpoint="ws://another:8080")
    appliances._registry.renew("here.123456", {}, 60_000)
    presence = presence_of(settings, appliances)
    own, where, told = record_of(settings).read().run, "ws://another:8080 at here", []
    for _ in range(3):
        appliances.announce(other)
        for _ in range(2):
            presence.announce()
            told.append(appliances.rival("here", own))
    assert told == ["", "", "", where, where, where]
    appliances.announce(other)
    assert appliances.rival("here", own) == where, "whichever of the two spoke last"
    settings.lease_ttl = 0.01
    eventually(lambda: presence.announce() or not appliances.rival("here", own))


def test_an_appliance_without_redis_url_says_that_the_redis_runs_on_it(
    settings: Settings, appliances: Appliances
) -> None:
    appliances._registry.renew("there.abcdef", {}, 60_000)
    presence_of(settings, appliances).announce()
    assert state(appliances).needed_by == 0
    settings.redis_url = None
    presence_of(settings, appliances).announce()
    assert state(appliances).needed_by == 1
