"""Which program a browser has on a machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import LaunchError
from appliance.machine import browsers
from appliance.machine.browsers import Program
from appliance.names import Browser
from appliance.settings.config import Settings


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a folder with a driver, with no browser on the machine: downloads in `ms`, programs in `bin`."""
    for part in ("driver/package", "ms", "bin"):
        (tmp_path / part).mkdir(parents=True)
    driver = tmp_path / "driver"
    (driver / "node").touch()
    (driver / "package" / "cli.js").touch()
    (driver / "package" / "package.json").write_text('{"version": "1.65.1"}')
    described = [
        {"name": "chromium-headless-shell", "revision": "1255"},
        {"name": "webkit", "revision": "2388", "revisionOverrides": {"debian11-x64": "2105"}},
    ]
    (driver / "package" / "browsers.json").write_text(json.dumps({"browsers": described}))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "ms"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    in_system = {name: tuple(p for p in paths if "/" not in p) for name, paths in browsers._SYSTEM.items()}
    monkeypatch.setattr(browsers, "_SYSTEM", in_system)
    return tmp_path


def find(machine: Path, browser: Browser = Browser.CHROMIUM, **settings: Any) -> Program:
    return browsers.find(browser, Settings(playwright_driver=machine / "driver", **settings))


def program(path: Path) -> Path:
    """Make a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


def download(machine: Path, path: str) -> Path:
    made = program(machine / "ms" / path)
    (machine / "ms" / Path(path).parts[0] / "INSTALLATION_COMPLETE").touch()
    return made


SHELL = "chromium_headless_shell-1255/chrome-headless-shell-linux64/chrome-headless-shell"


def test_the_setting_comes_first_then_playwrights_download_then_the_systems(machine: Path) -> None:
    system = program(machine / "bin" / "chromium-headless-shell")
    assert find(machine) == Program(system, "system")
    downloaded = download(machine, SHELL)
    assert find(machine) == Program(downloaded, "playwright")
    named = program(machine / "mine")
    assert find(machine, chromium_executable=named) == Program(named, "setting")


def test_a_download_that_is_not_complete_does_not_count(machine: Path) -> None:
    program(machine / "ms" / SHELL)
    with pytest.raises(LaunchError):
        find(machine)


@pytest.mark.parametrize("folder", ["webkit-2388", "webkit_debian11-x64_special-2105"])
def test_a_download_for_an_old_system_has_a_folder_of_its_own(machine: Path, folder: str) -> None:
    downloaded = download(machine, f"{folder}/pw_run.sh")
    assert find(machine, Browser.WEBKIT) == Program(downloaded, "playwright")


def test_a_missing_program_is_said_with_a_way_to_get_it(machine: Path) -> None:
    with pytest.raises(LaunchError, match="no program for chromium") as caught:
        find(machine)
    assert "playwright install chromium-headless-shell" in caught.value.hint
    with pytest.raises(LaunchError, match="CHROMIUM_EXECUTABLE names /nowhere"):
        find(machine, chromium_executable=Path("/nowhere"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_id_without_a_name_or_a_home_finds_the_systems_programs() -> None:
    """The worker of a service that systemd starts is such a one."""
    code = "from pathlib import Path; from appliance.machine import browsers; browsers.downloads_folder(Path('/'))"
    subprocess.run(
        [sys.executable, "-c", f"import os, appliance.machine.browsers; os.setuid(1879048192); {code}"],
        env={"PATH": os.environ["PATH"]},
        check=True,
    )


def test_the_drivers_folder_and_version_are_those_of_the_setting(machine: Path) -> None:
    settings = Settings(playwright_driver=machine / "driver")
    assert browsers.driver_folder(settings) == machine / "driver"
    assert browsers.driver_version(settings) == "1.65.1"
    with pytest.raises(LaunchError, match="is no Playwright driver"):
        browsers.driver_folder(Settings(playwright_driver=machine / "ms"))


def test_the_installed_wheel_has_a_driver_of_which_every_browser_is_described() -> None:
    folder = browsers.driver_folder(Settings())
    described = json.loads((folder / "package" / "browsers.json").read_text())["browsers"]
    assert set(browsers._DOWNLOADED) <= {entry["name"] for entry in described}


def test_the_paths_of_downloads_are_those_of_the_installed_driver() -> None:
    bundle = (browsers.driver_folder(Settings()) / "package" / "lib" / "coreBundle.js").read_text()
    for browser, paths in browsers._DOWNLOADED.items():
        tokens = json.dumps(paths[0].split("/"))
        assert f'"linux-x64": {tokens}' in bundle, browser
