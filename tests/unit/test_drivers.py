"""The drivers that an image was built with, beside those in DRIVERS_DIR."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.checks.programs import check_pools
from appliance.machine import drivers
from appliance.machine.install.driver import DriverError, remove_driver
from appliance.settings import config
from appliance.settings.config import Settings


def put(parent: Path, version: str) -> Path:
    folder = parent / version
    folder.mkdir(parents=True)
    drivers.describe(folder, version, "")
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    monkeypatch.setattr(drivers, "shipped", lambda: folder)
    return folder


def test_a_newer_patch_that_was_added_comes_before_a_shipped_driver(tmp_path: Path, shipped: Path) -> None:
    settings = Settings(drivers_dir=tmp_path / "drivers")
    old, new = put(shipped, "1.62.0"), put(settings.drivers_dir, "1.62.1")
    assert [driver.folder for driver in drivers.added(settings)] == [new, old]
    assert drivers.find("1.62", settings).folder == new


def test_a_shipped_driver_is_not_removed(tmp_path: Path, shipped: Path) -> None:
    settings = Settings(drivers_dir=tmp_path / "drivers")
    folder = put(shipped, "1.62.0")
    with pytest.raises(DriverError, match="came with the image"):
        remove_driver("1.62", settings, None)
    assert folder.is_dir()


@pytest.mark.parametrize(("named", "unserved"), [("auto", []), ("1.62,1.65", []), ("1.57,1.62,2.0", ["1.57", "2.0"])])
def test_a_version_of_drivers_that_is_not_served_is_refused(named: str, unserved: list[str]) -> None:
    findings = [found.finding for found in check_pools(config.load(drivers=named)) if found.status == "failed"]
    assert [finding.split(",")[0] for finding in findings] == [f"DRIVERS has {minor}" for minor in unserved]
