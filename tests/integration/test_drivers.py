"""Drivers are added whole or not at all, by pip from a package index of the test; each failure is a sentence."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.checks.programs import check_pools
from appliance.errors import ApplianceError, LaunchError
from appliance.machine import drivers
from appliance.machine.install import driver as install
from appliance.machine.install.index import IndexUnreachable, offered_minors
from appliance.settings.config import Settings

NODE = "#!/bin/sh\nexit 0\n"  # takes every preload
UNCONFINED = "#!/bin/sh\necho 'Error: the driver is not started, for policy.js cannot be installed in it' >&2; exit 1\n"


class Index:
    """A package index in a folder, which offers wheels of Playwright."""

    def __init__(self, folder: Path) -> None:
        """Offer nothing yet."""
        self.folder = folder / "simple" / "playwright"
        self.folder.mkdir(parents=True)
        self.url = f"file://{folder}/simple"
        self._links: list[str] = []

    def offer(self, version: str, node: str = NODE, digest: str = "", filling: int = 0) -> None:
        """Offer a wheel whose driver has this program, under its hash or another one."""
        name = f"playwright-{version}-py3-none-any.whl"
        with zipfile.ZipFile(self.folder / name, "w") as wheel:
            program = zipfile.ZipInfo("playwright/driver/node")
            program.external_attr = 0o777 << 16
            wheel.writestr(program, node)
            wheel.writestr("playwright/driver/package/cli.js", "//")
            wheel.writestr("playwright/driver/package/lib/filling.js", os.urandom(filling))
            wheel.writestr("playwright/__init__.py", "")
            about = f"playwright-{version}.dist-info"
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: playwright\nVersion: {version}\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
        digest = digest or hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
        self._links.append(f'<a href="{name}#sha256={digest}">{name}</a>')
        (self.folder / "index.html").write_text("\n".join(self._links))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """Return an index, which is the only one that pip knows."""
    index = Index(tmp_path / "index")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    return index


@pytest.fixture
def settings(tmp_path: Path, settings_file: Path) -> Settings:
    """Return settings whose drivers are in a folder of the test's."""
    assert not settings_file.exists()
    return Settings(drivers_dir=tmp_path / "drivers", run_dir=tmp_path / "run")


def add(version: str, settings: Settings) -> tuple[str, bool]:
    driver, is_new = install.add_driver(version, settings, lambda _: None)
    return driver.version, is_new


def why_not(version: str, settings: Settings) -> str:
    """Try to add a driver; return why that fails, in whole, and see that it leaves nothing."""
    before = contents(settings)
    with pytest.raises(ApplianceError) as raised:
        add(version, settings)
    assert contents(settings) == before
    return f"{raised.value}. {getattr(raised.value, 'hint', '')}"


def contents(settings: Settings) -> set[str]:
    return set(os.listdir(settings.drivers_dir)) if settings.drivers_dir.exists() else set()


def test_the_newest_patch_is_added_and_nobody_else_can_write_to_it(index: Index, settings: Settings) -> None:
    for version in ("1.62.0", "1.62.1", "1.62.2b1", "1.63.0"):
        index.offer(version)
    assert add("1.62", settings) == ("1.62.1", True)
    assert add("1.62", settings) == ("1.62.1", False), "it is there already"
    assert add("1.62.0", settings) == ("1.62.0", True), "a patch that is named"
    assert [driver.version for driver in drivers.added(settings)] == ["1.62.1", "1.62.0"]
    found = drivers.find("1.62", settings)
    assert found.version == "1.62.1"
    assert (
        found.sha256 == hashlib.sha256((index.folder / "playwright-1.62.1-py3-none-any.whl").read_bytes()).hexdigest()
    )
    paths = [settings.drivers_dir, found.folder, *found.folder.rglob("*")]
    assert not [path for path in paths if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)]
    assert all(path.stat().st_mode & stat.S_IROTH for path in paths), "each worker's account can read it"
    assert os.access(found.folder / "node", os.X_OK)
    assert not list(found.folder.rglob("__init__.py")), "nothing of the wheel's Python is kept"


def test_a_wheel_whose_hash_is_not_the_published_one_is_refused(index: Index, settings: Settings) -> None:
    index.offer("1.62.0", digest="0" * 64)
    assert "does not have the hash that the package index publishes" in why_not("1.62", settings)


def test_a_version_that_the_index_does_not_have_is_refused_with_those_that_it_has(
    index: Index, settings: Settings
) -> None:
    for version in ("1.50.0", "1.61.0", "1.63.0"):
        index.offer(version)
    said = why_not("1.62", settings)
    assert "the package index has no Playwright 1.62 for this machine" in said
    assert "It has 1.61.0, 1.63.0." in said


def test_an_index_that_cannot_be_reached_is_told_from_one_without_the_version(
    index: Index, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.offer("1.62.0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the port "discard", where nobody listens
    said = why_not("1.62", settings)
    assert "the package index cannot be reached" in said
    assert "Connection refused" in said


def test_the_index_is_asked_once_for_all_versions_that_it_has(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered_minors({}) == frozenset(), "it is there, and has none"
    for version in ("1.61.0", "1.62.0", "1.62.1"):
        index.offer(version)
    assert offered_minors({}) == {"1.61", "1.62"}
    monkeypatch.delenv("PIP_INDEX_URL")
    assert offered_minors({"PIP_INDEX_URL": index.url}) == {"1.61", "1.62"}, "as who started the appliance has it"
    with pytest.raises(IndexUnreachable, match=r"the package index cannot be reached: .*Connection refused"):
        offered_minors({"PIP_INDEX_URL": "http://127.0.0.1:9/simple"})


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("1.57", "Playwright 1.57 cannot be served: this release of the appliance was not tested with it"),
        ("1.99", "Playwright 1.99 cannot be served: this release of the appliance was not tested with it"),
        ("1.65", "the appliance's own driver has that version"),
        ("latest", "'latest' is no version of Playwright"),
        ("1.62.*", "'1.62.*' is no version of Playwright"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_fetched(
    version: str, sentence: str, settings: Settings
) -> None:
    assert sentence in why_not(version, settings)
    assert not settings.drivers_dir.exists()


def test_a_driver_that_the_preload_does_not_fit_is_refused(index: Index, settings: Settings) -> None:
    index.offer("1.62.0", UNCONFINED)
    said = why_not("1.62", settings)
    assert "Playwright 1.62.0 cannot be confined" in said
    assert "policy.js cannot be installed in it" in said


def test_two_that_change_the_drivers_at_once_do_not_meet(index: Index, settings: Settings) -> None:
    index.offer("1.62.0")
    with install._changing(settings):
        assert "another `applctl drivers` is changing" in why_not("1.62", settings)
    assert add("1.62", settings) == ("1.62.0", True)


def test_what_a_crash_has_left_does_not_count_and_goes_with_the_next_change(index: Index, settings: Settings) -> None:
    index.offer("1.62.0")
    for left in (".adding-x/driver", ".removing-x/driver"):
        (settings.drivers_dir / left).mkdir(parents=True)
    assert drivers.added(settings) == []
    add("1.62", settings)
    assert contents(settings) == {"1.62.0"}


def test_a_driver_is_removed_unless_a_pool_uses_it(index: Index, settings: Settings) -> None:
    for version in ("1.62.0", "1.62.1", "1.63.0"):
        index.offer(version)
    for version in ("1.62.0", "1.62.1", "1.63.0"):
        add(version, settings)
    used = settings.model_copy(update={"pools": ["chromium@1.62:2"]})
    for now, running in ((used, None), (settings, used)):
        with pytest.raises(ApplianceError, match=r"1\.62\.1 is used by the pool chromium@1\.62:2"):
            install.remove_driver("1.62", now, running)
    assert contents(settings) == {"1.62.0", "1.62.1", "1.63.0"}
    install.remove_driver("1.62.0", used, used)  # the pool has the newer patch
    install.remove_driver("1.62", settings, None)
    assert contents(settings) == {"1.63.0"}
    with pytest.raises(ApplianceError, match=r"there is no driver of Playwright 1\.62 in"):
        install.remove_driver("1.62", settings, None)
    with pytest.raises(LaunchError, match=r"there is no driver of Playwright 1\.62 here") as raised:
        drivers.find("1.62", used)
    assert raised.value.hint == "Run `applctl drivers add 1.62`."


def test_a_driver_that_a_worker_still_runs_is_not_removed(index: Index, settings: Settings) -> None:
    for version in ("1.62.0", "1.62.1"):
        index.offer(version)
        add(version, settings)
    program = settings.drivers_dir / "1.62.0" / "node"
    shutil.copyfile(shutil.which("sleep") or "/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as running:
        with pytest.raises(ApplianceError, match=rf"1\.62\.0 is run by process {running.pid}"):
            install.remove_driver("1.62.0", settings, None)
        running.kill()
    install.remove_driver("1.62.0", settings, None)
    assert contents(settings) == {"1.62.1"}


def test_a_pool_is_checked_for_a_driver_that_runs_and_that_nobody_else_can_change(
    index: Index, settings: Settings
) -> None:
    used = settings.model_copy(update={"pools": ["chromium@1.62:2"], "chromium_workers": 0})
    (check,) = check_pools(used)
    assert check.finding == "POOLS has chromium@1.62:2: there is no driver of Playwright 1.62 here"
    assert check.remedy == "Run `applctl drivers add 1.62`."
    index.offer("1.62.0", node="#!/bin/sh\necho v24.0.0\n")
    add("1.62", settings)
    (check,) = check_pools(used)
    assert check.status == "ok"
    assert drivers.version_for_clients(used) == "1.62"
    folder = settings.drivers_dir / "1.62.0"
    (folder / "package" / "lib" / "filling.js").chmod(0o666)
    (check,) = check_pools(used)
    assert check.finding.endswith(f"other accounts can change {folder}/package/lib/filling.js")
    (folder / "package" / "lib" / "filling.js").chmod(0o644)
    (folder / "node").chmod(0o644)
    (check,) = check_pools(used)
    assert "cannot be run by the account of browsers" in check.finding
    (check,) = check_pools(settings.model_copy(update={"pools": ["chromium@1.65:1"]}))
    assert "1.65 is the version of the appliance's own driver" in check.finding


@pytest.fixture
def small_disk(settings: Settings) -> Iterator[Path]:
    """Mount a disk of 8 MiB as DRIVERS_DIR."""
    folder = settings.drivers_dir
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=False).returncode
    ):
        pytest.skip("only root can mount a disk that is small")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_is_too_small_is_said_before_and_left_as_it_was(
    small_disk: Path, index: Index, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.offer("1.62.0", filling=6 * 2**20)  # the wheel has room, and what is in it has none beside it
    index.offer("1.63.0", filling=10 * 2**20)
    assert f"{small_disk} has only 8 MiB of disk space" in why_not("1.62", settings)
    monkeypatch.setattr(install, "_NEEDED_BYTES", 0)  # as if another program had filled it meanwhile
    assert "No space left on device" in why_not("1.62", settings)
    assert f"{small_disk} has no space for the driver" in why_not("1.63", settings)
