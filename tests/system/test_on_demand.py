"""A client of a version that nobody serves gets a worker of its own version, or reads why not; idle pools end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.machine.supervisor import Supervisor
from appliance.names import minor_version
from tests.support.appliance import Appliance
from tests.support.raw_client import RawClient
from tests.support.versions import OWN_MINOR
from tests.support.waiting import until
from tests.support.wire import Wire

WITHIN_S = 20
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}


@pytest.fixture(scope="module")
def grid(drivers_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Return an appliance by the defaults, with the driver of 1.64 in its folder and no package index for others."""
    folder = tmp_path_factory.mktemp("drivers")
    (driver,) = drivers_dir.glob("1.64.*")
    (folder / driver.name).symlink_to(driver)
    with Appliance(DRIVERS="", DRIVERS_DIR=folder, POOL_IDLE_TIMEOUT=2, **NO_INDEX) as grid:
        yield grid


def minors(grid: Appliance) -> set[str]:
    return {minor_version(worker.version) for worker in grid.state.workers()}


def test_a_version_that_nobody_serves_has_its_session_and_its_pool_ends_when_idle(grid: Appliance) -> None:
    assert minors(grid) == {OWN_MINOR}
    began = time.monotonic()
    with RawClient(grid, version="1.64.1") as client:
        assert client.context()
        assert time.monotonic() - began < WITHIN_S
        listed = json.loads(grid.applctl("pools", "list", "--json").stdout)
        (pool,) = [one for one in listed if one["clients"] == "1.64.*"]
        assert (pool["workers"], pool["set_by"]) == (1, "a client")
        assert json.loads(grid.applctl("status", "--json").stdout)["problems"] == []
    until(lambda: minors(grid) == {OWN_MINOR}, "the pool ends, for nobody uses it")
    until(lambda: len(chromium(grid)) == 1, "its worker is not started again")
    with RawClient(grid, version="1.64.1") as client:
        assert client.context(), "it comes back when it is wanted again"
    assert grid.lasting_differences() == []


def chromium(grid: Appliance) -> list[str]:
    return [process.name for process in Supervisor(grid.run_dir).processes() if process.name.startswith("chromium")]


def test_a_version_that_cannot_be_had_is_refused_with_the_reason(grid: Appliance) -> None:
    for _ in range(2):
        with Wire(grid.port) as wire:
            refused = wire.upgrade(User_Agent="Playwright/1.61.0 (x64; test) node/20.1")
        assert refused.status == 428
        assert "none could be started" in refused.error["message"]
        assert "applctl pools add chromium@1.61" in refused.error["hint"]
    assert grid.log("pools").count("pool.failed") <= 1, "the second client is refused without another attempt"


def test_operators_read_which_versions_can_be_had(grid: Appliance) -> None:
    until(lambda: "Not those of" in grid.applctl("drivers", "list").stdout, "the package index has been asked")
    found = {check["name"]: check for check in json.loads(grid.applctl("doctor", "--json", check=False).stdout)}
    assert "get a worker on demand: 1.64." in found["versions"]["finding"]
    assert "Not those of 1.58, 1.59" in found["versions"]["finding"]


def test_a_version_that_cannot_be_confined_is_refused_at_once(grid: Appliance) -> None:
    with Wire(grid.port) as wire:
        refused = wire.upgrade(User_Agent="Playwright/1.57.0 (x64; test) node/20.1")
    assert (refused.status, "Served:" in refused.error["message"]) == (428, True)
    assert "1.57" not in grid.log("pools")
