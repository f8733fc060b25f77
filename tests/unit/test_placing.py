"""Which worker is in which pool: each keeps its pool while the sizes change."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import pools, scale
from appliance.cli.application import main
from appliance.cli.scale import merged, pool_key, settings_of
from appliance.machine import pool_file
from appliance.machine.folders import prepare_run_dir
from appliance.names import Browser
from appliance.pools.resizing import WORKER_BYTES, PoolError, require_room
from appliance.settings import config
from appliance.settings.config import Settings
from appliance.settings.pools import MAX_WORKERS, Pool, parse_name, place
from tests.support.versions import OWN_MINOR
from workers.worker import Worker

OWN, OLDER = Pool(Browser.CHROMIUM, "", 2, 1), Pool(Browser.CHROMIUM, "1.62", 1, 1)


@pytest.fixture
def settings(tmp_path: object, settings_file: object) -> Settings:
    """Return settings with a pool of the own driver's and one of another version."""
    return config.load(run_dir=tmp_path, chromium_workers=2, spare_workers=1, pools="chromium@1.62:1")


def names(placed: dict[str, Pool], minor: str) -> list[str]:
    return [name for name, pool in placed.items() if pool.minor == minor]


def test_workers_are_numbered_through_the_pools_of_a_browser() -> None:
    placed = place([OWN, OLDER, Pool(Browser.FIREFOX, "", 1)], {})
    assert names(placed, "1.62") == ["chromium-03", "chromium-04"]
    assert [*placed] == ["chromium-00", "chromium-01", "chromium-02", "chromium-03", "chromium-04", "firefox-00"]


def test_a_pool_that_grows_takes_free_numbers_and_others_keep_theirs() -> None:
    before = place([OWN, OLDER], {})
    placed = place([OWN._replace(workers=4), OLDER], before, taken=["chromium-05"])
    assert names(placed, "") == ["chromium-00", "chromium-01", "chromium-02", "chromium-06", "chromium-07"]
    assert names(placed, "1.62") == names(before, "1.62")


def test_those_leave_a_pool_that_are_to_leave_first_and_their_numbers_stay_taken() -> None:
    before = place([OWN, OLDER], {})
    leaving = ["chromium-01", "chromium-00", "chromium-03", "chromium-04", "chromium-02"]
    placed = place([OWN._replace(workers=1, spares=0), OLDER._replace(workers=3)], before, leaving)
    assert names(placed, "") == ["chromium-02"]
    assert names(placed, "1.62") == ["chromium-03", "chromium-04", "chromium-05", "chromium-06"]


def test_a_browser_has_no_more_workers_than_user_ids() -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_WORKERS} workers"):
        place([OWN._replace(workers=MAX_WORKERS)], {})


def test_names_of_pools_are_read_or_refused() -> None:
    assert parse_name("chromium@1.62") == (Browser.CHROMIUM, "1.62")
    assert parse_name("webkit") == (Browser.WEBKIT, "")
    assert parse_name("chromium/browser") == (Browser.CHROMIUM, "/browser")
    assert parse_name("chromium@1.62/browser") == (Browser.CHROMIUM, "1.62/browser")
    for wrong in (
        "",
        "opera",
        "chromium@",
        "chromium@1",
        "chromium@1.62.0",
        "chromium:2",
        "Chromium",
        "chromium/context",
    ):
        with pytest.raises(ValueError, match="names no pool"):
            parse_name(wrong)


def test_what_an_appliance_has_counts_more_than_its_settings(settings: Settings) -> None:
    prepare_run_dir(settings)
    assert pool_file.as_written(settings) == settings, "without the file, the settings count"
    on_demand = Pool(Browser.CHROMIUM, "1.64", 1, 0, on_demand=True)
    placed = place([*settings.all_pools, on_demand], settings.pool_by_name)
    pool_file.write(settings.as_placed(placed))
    found = pool_file.as_written(settings)
    assert found.all_pools == [*settings.all_pools, on_demand]
    assert found.pool_by_name == placed
    assert found.worker_names == [f"chromium-0{number}" for number in range(6)]
    assert found.own_workers_of(Browser.CHROMIUM) == 2
    settings.paths.pools.write_text("{half")
    assert pool_file.as_written(settings).worker_names == settings.worker_names


def test_sizes_are_written_to_the_settings_that_a_person_would_set(settings: Settings) -> None:
    chromium = Browser.CHROMIUM
    assert settings_of({(chromium, ""): 6}, settings) == {"CHROMIUM_WORKERS": "6"}
    assert settings_of({(chromium, "1.62"): 3, (Browser.FIREFOX, ""): 1}, settings) == {
        "FIREFOX_WORKERS": "1",
        "POOLS": "chromium@1.62:3",
    }
    assert settings_of({(chromium, "1.62"): 0, (chromium, "1.60"): 1}, settings) == {"POOLS": "chromium@1.60:1"}
    assert settings_of({(chromium, "1.62"): 0}, settings) == {"POOLS": ""}


def test_a_pool_beside_another_one_is_named_by_its_version_or_the_own_drivers(settings: Settings) -> None:
    beside = pool_key(f"chromium@{OWN_MINOR}/browser")
    assert beside == pool_key("chromium/browser") == (Browser.CHROMIUM, "/browser")
    assert settings_of({beside: 1}, settings) == {"POOLS": "chromium@1.62:1, chromium/browser:1"}


def test_options_are_written_to_pools_and_the_short_form_stays_without_any(settings: Settings) -> None:
    own, older = (Browser.CHROMIUM, ""), (Browser.CHROMIUM, "1.62")
    assert settings_of({older: 2}, settings, {older: {"isolation": "browser", "args": "--a --b"}}) == {
        "POOLS": "chromium@1.62:2 isolation=browser args='--a --b'"
    }
    written = settings_of({own: 2}, settings, {own: {"channel": "chrome"}})
    assert written == {"CHROMIUM_WORKERS": "", "POOLS": "chromium@1.62:1, chromium:2 channel=chrome"}
    named = config.load(pools=written["POOLS"])
    assert settings_of({own: 5}, named)["POOLS"] == "chromium@1.62:1, chromium:5 channel=chrome"
    assert settings_of({own: 2}, named, {own: {"channel": ""}}) == {"CHROMIUM_WORKERS": "2", "POOLS": "chromium@1.62:1"}
    assert settings_of({own: 0}, named) == {"CHROMIUM_WORKERS": "0", "POOLS": "chromium@1.62:1"}


def test_other_options_replace_the_workers_of_a_pool_and_only_them() -> None:
    before = place([OWN, OLDER], {})
    more_spares = OWN._replace(spares=2, options=(("spare_workers", "2"),))
    assert names(place([more_spares, OLDER], before), "")[:3] == names(before, ""), "standby is no matter of a worker"
    changed = OWN._replace(options=(("isolation", "browser"),))
    placed = place([changed, OLDER], before, taken=[*before])
    assert names(placed, "") == ["chromium-05", "chromium-06", "chromium-07"]
    assert names(placed, "1.62") == names(before, "1.62")
    with pytest.raises(PoolError, match="3 more workers need"):
        require_room([OWN, OLDER], [changed, OLDER], 2 * WORKER_BYTES)


def test_pools_set_keeps_what_the_file_says_of_other_pools(
    tmp_path: Path, settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_DIR", str(tmp_path))
    monkeypatch.setattr(scale, "_require_possible", lambda *_: None)
    settings_file.write_text("CHROMIUM_WORKERS=2\nPOOLS='firefox@1.62:1 channel=moz-firefox'\n")
    command = ["pools", "set", "chromium", "--isolation", "browser", "--args", "--mute-audio --a=b,c"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert [str(pool) for pool in config.load().all_pools] == [
        "chromium:2 isolation=browser args='--mute-audio --a=b,c'",
        "firefox@1.62:1 channel=moz-firefox",
    ]
    assert "CHROMIUM_WORKERS" not in settings_file.read_text()
    done = CliRunner().invoke(main, ["pools", "set", "chromium", "--isolation", "tab"])
    assert done.exit_code == 1
    assert "isolation: 'tab' is not one of context, browser" in done.output


def test_a_proxy_goes_by_the_pools_that_are_there_now(settings: Settings) -> None:
    prepare_run_dir(settings)
    current = pool_file.Current(settings)
    assert current() is settings
    pool_file.write(settings.as_placed({"chromium-00": OWN._replace(options=(("isolation", "browser"),))}))
    assert current().serving(Browser.CHROMIUM, "").isolation == "browser"
    assert current() is current()


def test_a_pool_that_was_on_demand_is_there_for_good_once_it_is_given_a_size(settings: Settings) -> None:
    on_demand = Pool(Browser.CHROMIUM, "1.64", 1, 0, on_demand=True)
    now = settings.as_placed(place([*settings.all_pools, on_demand], settings.pool_by_name))
    assert merged(now, {(Browser.CHROMIUM, "1.64"): 2}) == [
        *settings.all_pools,
        Pool(Browser.CHROMIUM, "1.64", 2, 1, on_demand=False),
    ]
    assert merged(now, {(Browser.CHROMIUM, "1.62"): 0})[1:] == [on_demand]


def test_more_workers_than_memory_are_refused() -> None:
    require_room([OWN], [OWN, OLDER], 2 * WORKER_BYTES)
    require_room([OWN, OLDER], [OWN], 0)
    with pytest.raises(PoolError, match="2 more workers need 1024 MiB of memory, and 512 MiB are free"):
        require_room([OWN], [OWN, OLDER], WORKER_BYTES)


def test_a_worker_that_was_let_go_tells_the_size_of_its_pool_and_0_if_that_is_gone(settings: Settings) -> None:
    prepare_run_dir(settings)
    pool_file.write(settings)
    worker = Worker("here.chromium-00.abcdef", settings.model_copy(update={"worker_name": "chromium-00"}))
    assert worker._size() == (2, 1)
    pool_file.write(settings.as_placed(dict.fromkeys(["chromium-01", "chromium-02"], OWN._replace(workers=1))))
    assert worker._size() == (1, 1)
    pool_file.write(settings.as_placed({"chromium-03": OLDER}))
    assert worker._size() == (0, 0)


def test_a_pool_on_demand_is_changed_and_removed_as_any_other_and_added_for_good(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = OLDER._replace(on_demand=True)
    changes: list[object] = []
    monkeypatch.setattr(pools, "current_settings", lambda: settings.as_placed({"chromium-00": wanted}))
    monkeypatch.setattr(pools, "change_sizes", lambda sizes, *_: changes.append(sizes) or {})
    for words in (["set", wanted.name, "3"], ["remove", wanted.name], ["add", wanted.name]):
        done = CliRunner().invoke(main, ["pools", *words])
        assert done.exit_code == 0, done.output
    assert changes == [{wanted[:2]: size} for size in (3, 0, 1)]
