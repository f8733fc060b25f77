"""What a proxy says of its appliance, and what it makes of the answers, on a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from appliance.deadline import Deadline
from appliance.grid.grid import Grid
from appliance.grid.records import ApplianceInfo
from appliance.grid.sessions import Sessions
from appliance.grid.values import Announcement, SessionRequest, Standing
from appliance.machine.record import record_of
from appliance.names import Browser
from appliance.request_errors import StoreUnavailable
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
    settings = config.load(**own, drain_notice=1.5, drain_timeout=1.5)
    record_of(settings).begin_run()
    return settings


@pytest.fixture
def appliances(grid: Grid) -> Grid:
    """Two appliances: `here`, whose proxy lives but has said nothing yet, and `there`, which serves."""
    grid.announce(announcement("there"))
    grid.renew("here.abcdef", {}, 60_000)
    return grid


@pytest.fixture(autouse=True)
def _no_greenlet_outlives_its_test() -> Iterator[None]:
    yield
    kill_greenlets()


def presence_of(settings: Settings, grid: Grid) -> Presence:
    return Presence(settings, grid, "here.abcdef", Sessions(grid, settings, "here.abcdef"))


def eventually(condition: Callable[[], object]) -> None:
    """Wait for what another greenlet does."""
    with gevent.Timeout(30):
        while not condition():
            gevent.sleep(0.01)


def record(grid: Grid) -> dict[str, str]:
    (fields,) = grid.store.read(("HGETALL", grid.store.key("appliance", "here")))
    return dict(fields)


def state(grid: Grid) -> ApplianceInfo:
    state = grid.appliance("here")
    assert state
    return state


def forget_settling(grid: Grid) -> None:
    grid.store.read(("HSET", grid.store.key("appliance", "here"), "settle_ms", 0))


def test_it_may_not_be_stopped_before_the_notice_is_over_which_is_announced_at_once(
    settings: Settings, pair: Grid
) -> None:
    presence = presence_of(settings, pair)
    presence.announce()
    pair.drain_appliance("here", "drained by operator")
    presence.announce()
    forget_settling(pair)
    assert presence.refusal() is None
    assert not state(pair).safe_to_stop
    eventually(presence.refusal)
    eventually(lambda: record(pair)["admits"] == "0")
    forget_settling(pair)
    assert state(pair).safe_to_stop


def test_it_remembers_which_turn_of_its_drains_it_has_heard_of(settings: Settings, pair: Grid) -> None:
    presence = presence_of(settings, pair)
    presence.announce()
    pair.drain_appliance("here", "drained by operator")
    pair.undrain_appliance("here")
    presence.announce()
    assert (record_of(settings).read().drained, record_of(settings).read().epoch) == (False, 2)


def test_sessions_that_are_left_when_drain_timeout_is_over_are_ended_and_not_before(
    settings: Settings, pair: Grid
) -> None:
    sessions = Sessions(pair, settings, "here.abcdef")
    presence = Presence(settings, pair, "here.abcdef", sessions)
    presence.announce()
    pair.register_worker(spec("A", appliance="there"))
    reasons: list[str] = []
    with sessions.open(SessionRequest(Browser.CHROMIUM, "1.65"), lambda _: None) as session:
        session.relay(lambda reason, _: reasons.append(reason))
        pair.drain_appliance("here", "drained by operator")
        not_before = Deadline(settings.drain_timeout)
        presence.announce()
        assert presence.reason_to_leave()
        eventually(lambda: presence.announce() or reasons)  # type: ignore[func-returns-value]
        assert not_before.is_over
    assert "DRAIN_TIMEOUT of 1.5 s is over" in reasons[0]


class Late(Grid):
    """Grid whose answers to announcements are `delay_s` seconds on their way."""

    delay_s = 0.0

    def announce(self, announcement: Announcement) -> Standing:
        told, delay_s = super().announce(announcement), self.delay_s
        gevent.sleep(delay_s)
        return told


def test_an_answer_that_is_late_does_not_undo_what_was_said_after_it(settings: Settings, pair: Grid) -> None:
    late = Late(pair.store)
    presence = presence_of(settings, late)
    presence.announce()
    late.delay_s = 0.2
    earlier = gevent.spawn(presence.announce)
    gevent.sleep(0)
    pair.drain_appliance("here", "drained by operator")
    late.delay_s = 0
    presence.announce()
    earlier.join()
    assert presence.reason_to_leave()
    assert record_of(settings).read().drained


def test_those_who_want_to_announce_while_redis_hangs_wait_for_its_time_out_together(
    settings: Settings, pair: Grid
) -> None:
    calls = []

    class Hanging(Late):
        def announce(self, announcement: Announcement) -> Standing:
            calls.append(announcement)
            gevent.sleep(0.05)
            raise StoreUnavailable("Redis does not answer")

    presence = presence_of(settings, Hanging(pair.store))
    waiting = [gevent.spawn(presence.announce) for _ in range(10)]
    gevent.joinall(waiting)
    assert [type(one.exception) for one in waiting] == [StoreUnavailable] * 10
    assert len(calls) == 2, "of those who came while the first was under way"


def test_where_no_other_serves_it_may_be_stopped_as_soon_as_it_was_told(settings: Settings, pair: Grid) -> None:
    pair.drain_appliance("there", "drained by operator")
    presence = presence_of(settings, pair)
    presence.announce()
    pair.drain_appliance("here", "drained by operator")
    presence.announce()
    forget_settling(pair)
    assert state(pair).safe_to_stop


def test_a_rival_is_told_to_the_grid_once_it_is_no_earlier_run(settings: Settings, pair: Grid) -> None:
    """Two of one name overwrite each other's record; that one of them speaks more often makes no difference."""
    other = announcement("here", run="another", proxy="here.123456", endpoint="ws://another:8080")
    pair.renew("here.123456", {}, 60_000)
    presence = presence_of(settings, pair)
    own, where, told = record_of(settings).read().run, "ws://another:8080 at here", []
    for _ in range(3):
        pair.announce(other)
        for _ in range(2):
            presence.announce()
            told.append(pair.rival_of("here", own))
    assert told == ["", "", "", where, where, where]
    pair.announce(other)
    assert pair.rival_of("here", own) == where, "whichever of the two spoke last"
    settings.lease_ttl = 0.01
    eventually(lambda: presence.announce() or not pair.rival_of("here", own))


def test_an_appliance_without_redis_url_says_that_the_redis_runs_on_it(settings: Settings, pair: Grid) -> None:
    pair.renew("there.abcdef", {}, 60_000)
    presence_of(settings, pair).announce()
    assert state(pair).needed_by == 0
    settings.redis_url = None
    presence_of(settings, pair).announce()
    assert state(pair).needed_by == 1
