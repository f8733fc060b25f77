"""What the dashboard reads of a real Redis: looks, samples, viewers, and what its feed makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

import gevent
import pytest

from appliance.audit import snapshot
from appliance.grid import viewers
from appliance.grid.grid import Grid
from appliance.grid.overview import Reader
from appliance.grid.samples import Samples
from appliance.grid.store import Store
from appliance.grid.token_table import Principal
from appliance.settings import config
from proxy.dashboard import feed
from proxy.dashboard.feed import Feed
from tests.support.claims import CONCURRENCY, claim, spec
from tests.support.greenlets import kill_greenlets
from tests.support.redis_server import redis_server

ADMIN = Principal(is_admin=True)


@pytest.fixture
def busy(grid: Grid) -> Grid:
    """Return a grid with one worker, whose slots are taken, and with one session that waits."""
    grid.register_worker(spec("here.chromium-00.a1"))
    for number in range(CONCURRENCY + 1):
        claim(grid, f"s{number}")
    return grid


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a feed look often."""
    monkeypatch.setattr(feed, "LOOK_S", 0.01)
    yield
    kill_greenlets()


def test_a_look_has_workers_sessions_pools_and_what_has_happened(busy: Grid) -> None:
    look = Reader(busy).read()
    assert [(one.id, one.active) for one in look.workers] == [("here.chromium-00.a1", CONCURRENCY)]
    assert sorted(one.status for one in look.sessions) == ["active"] * CONCURRENCY + ["waiting"]
    assert look.sessions_total == CONCURRENCY
    assert [(pool.version, pool.free, pool.waiting) for pool in look.pools] == [("1.65", 0, 1)]
    policy = look.policies["chromium", "1.65"]
    assert (policy.quota, policy.margin) == (20, 20)
    assert [one["event"] for one in look.events].count("session.started") == CONCURRENCY


def test_a_further_look_knows_who_came_who_went_and_who_got_a_slot(busy: Grid) -> None:
    reader = Reader(busy)
    reader.read()
    busy.release("s0", "closed")
    claim(busy, "late")
    look = reader.read()
    assert {one.id: one.status for one in look.sessions} == {
        **{f"s{number}": "active" for number in range(1, CONCURRENCY + 1)},
        "late": "waiting",
    }
    assert [one["event"] for one in look.events] == ["session.ended", "session.started"]
    assert reader.read().events == ()


def test_one_sample_is_taken_however_many_proxies_try(busy: Grid) -> None:
    for _ in range(3):
        Samples(busy).take()
    last, samples = Samples(busy).read()
    (sample,) = samples
    assert (sample["slots"], sample["active"], sample["waiting"]) == (CONCURRENCY, CONCURRENCY, 1)
    assert Samples(busy).read(last) == (last, [])


def test_the_audit_knows_the_viewers_of_each_worker(grid: Grid) -> None:
    gone, there = viewers.new_viewer("W1"), viewers.new_viewer("W1")
    viewers.note(grid, [gone, there], 60_000)
    assert snapshot.read(grid).viewers == {"W1": {gone, there}}
    viewers.forget(grid, gone)
    assert snapshot.read(grid).viewers == {"W1": {there}}
    viewers.note(grid, [there], -1)
    viewers.forget(grid, gone)
    assert snapshot.read(grid).viewers == {}


@pytest.mark.usefixtures("quick")
def test_all_who_follow_are_told_the_same_and_the_grid_is_read_once(
    busy: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    read = Reader.read
    monkeypatch.setattr(Reader, "read", lambda reader: (looks.append(1), read(reader))[1])
    told = Feed(busy, config.load())
    pages = [told.follow(ADMIN) for _ in range(3)]
    greenlets = [gevent.spawn(lambda page=page: [next(page) for _ in range(4)]) for page in pages]
    gevent.joinall(greenlets, raise_error=True)
    first, *others = (greenlet.value for greenlet in greenlets)
    assert [json.loads(message).get("full", False) for message in first] == [True, False, False, False]
    assert others == [first, first]
    assert len(looks) <= 6
    for page in pages:
        page.close()
    before = len(looks)
    gevent.sleep(0.1)  # ten looks, if anybody looked
    assert len(looks) <= before + 1


@pytest.mark.usefixtures("quick")
def test_a_feed_says_that_redis_is_away() -> None:
    with redis_server() as url:
        grid = Grid(Store(url, "test"))
        grid.register_worker(spec("W"))
        page = Feed(grid, config.load()).follow(ADMIN)
        assert json.loads(next(page))["trouble"] == ""
    troubles = (json.loads(message)["trouble"] for message in page)
    assert next(trouble for trouble in islice(troubles, 100) if trouble) == "Redis does not answer."
    page.close()
