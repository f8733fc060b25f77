"""The inner door's key on a real Redis: made once, replaced daily, and brought back when Redis has lost it."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.grid.values import Door
from appliance.request_errors import StoreUnavailable
from proxy.door.keys import ASK_AGAIN_S, KEY_BYTES, Keys
from proxy.door.protocol import key_id
from tests.support.announced import announcement

ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64


def start(grid: Grid, rotate_s: float = 3600) -> Keys:
    keys = Keys(grid, rotate_s)
    keys.sync()
    return keys


def empty(grid: Grid) -> None:
    grid.store.read(("FLUSHALL",))


def test_the_first_proxy_makes_the_key_and_all_others_share_it(grid: Grid) -> None:
    first, second = start(grid), start(grid)
    assert first.current() == second.current()
    assert len(first.current()) == KEY_BYTES
    assert second.find(key_id(first.current())) == first.current()


def test_a_call_whose_answer_was_lost_changes_nothing_when_it_is_repeated(grid: Grid) -> None:
    assert grid.door_keys("", ONE, 0) == [ONE]
    assert grid.door_keys("", ONE, 0) == [ONE]
    assert grid.door_keys("", TWO, 0) == [TWO, ONE]
    assert grid.door_keys("", TWO, 0) == [TWO, ONE]
    assert grid.door_keys("", THREE, 3600) == [TWO, ONE]
    assert grid.door_keys("", THREE, 0) == [THREE, TWO]


def test_a_rotation_leaves_no_proxy_behind(grid: Grid) -> None:
    ahead, behind = start(grid, rotate_s=0), start(grid)
    old = behind.current()
    ahead.sync()
    assert ahead.current() != old
    assert ahead.find(key_id(old)) == old, "who still dials with the old key is let in"
    assert behind.find(key_id(ahead.current())) == ahead.current(), "who has the new one is let in by all"
    assert behind.current() == ahead.current()


def test_a_redis_that_was_emptied_gets_the_key_back(grid: Grid) -> None:
    keys = start(grid)
    before = keys.current()
    empty(grid)
    keys.sync()
    assert start(grid).current() == keys.current() == before


def test_a_proxy_with_a_key_that_redis_has_lost_takes_up_the_new_one(grid: Grid) -> None:
    keys = start(grid)
    before = keys.current()
    empty(grid)
    other = start(grid)  # it had none to bring back
    keys.refresh()
    assert keys.current() == other.current() != before
    assert keys.find(key_id(before)) is None


def test_an_unknown_key_makes_redis_be_asked_once_and_not_more_often_than_the_limit(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, asked = start(grid), []
    ask = grid.door_keys
    monkeypatch.setattr(grid, "door_keys", lambda *a: asked.append(time.monotonic()) or ask(*a))
    threads = [threading.Thread(target=keys.find, args=("0" * 16,)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(asked) < len(threads)
    assert all(later - earlier >= ASK_AGAIN_S * 0.9 for earlier, later in itertools.pairwise(asked))


def test_a_known_key_is_found_while_redis_is_away(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = start(grid)

    def be_away(*_: object) -> list[str]:
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(grid, "door_keys", be_away)
    assert keys.find(key_id(keys.current())) == keys.current()
    with pytest.raises(StoreUnavailable):
        keys.find("0" * 16)


def test_two_grids_on_one_redis_have_different_keys(grid: Grid) -> None:
    other = Store(grid.store.url, "other")
    assert start(grid).current() != start(Grid(other)).current()
    other.close()


def test_an_appliance_announces_its_door(grid: Grid) -> None:
    grid = grid
    assert grid.door("there") is None
    grid.announce(announcement("there", address="10.0.0.12", port=8443, certificate="ab" * 32))
    assert grid.door("there") == Door("10.0.0.12", 8443, "ab" * 32)
