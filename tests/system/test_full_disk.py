"""An appliance whose disk is full: it is said, nothing is half done, and there is a sentence for each refusal."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, sync_playwright

from tests.support.appliance import Appliance
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk that is small")


@pytest.fixture
def disk() -> Iterator[Path]:
    """Mount a disk of 200 MiB, for as long as the test lasts."""
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "none", str(folder)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


@pytest.fixture
def grid(disk: Path) -> Iterator[Appliance]:
    """Provide an appliance that has one token, on the disk.

    Its proxy seldom says that it could not save the tokens: the log has only the rest of a page on a full disk.
    """
    seldom = {"LEASE_RENEW_INTERVAL": 60, "LEASE_TTL": 180}
    grid = Appliance(disk / "run", APPLIANCE_ENV=disk / "appliance.env", **seldom)
    try:
        grid.applctl("token", "create", "first")
        yield grid
    finally:
        (disk / "filler").unlink(missing_ok=True)
        grid.stop()


def fill(disk: Path) -> None:
    """Leave no byte of room on a disk."""
    with (disk / "filler").open("ab", buffering=0) as filler:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue


def names(grid: Appliance) -> list[str]:
    return [token.name for token in grid.state.tokens().values() if not token.revoked_ms]


def test_a_full_disk_is_said_and_no_command_does_half_of_what_it_is_asked(grid: Appliance, disk: Path) -> None:
    settings = (disk / "appliance.env", "CHROMIUM_WORKERS=1\n")
    settings[0].write_text(settings[1])
    fill(disk)
    full = "No space left on device\n  Free some space on that file system"

    status = grid.applctl("status", check=False)
    assert (status.returncode, "run has only 0 MiB of disk space" in status.stdout) == (1, True)
    (room,) = [line for line in grid.applctl("doctor", check=False).stdout.splitlines() if " disk " in line][:1]
    assert room.startswith("failed")

    created = grid.applctl("token", "create", "second", check=False)
    assert (created.returncode, created.stdout) == (1, "")
    assert created.stderr.startswith(f"Error: {grid.run_dir}/tokens.json: {full}")
    assert names(grid) == ["first"]
    revoked = grid.applctl("token", "revoke", "first", check=False)
    assert "revoked in the grid, but not in" in revoked.stderr
    assert names(grid) == [], "a revocation must not wait for room"

    refused = grid.applctl("config", "set", "CHROMIUM_WORKERS=2", check=False)
    assert full in refused.stderr
    assert settings[0].read_text() == settings[1]
    restarted = grid.applctl("restart", check=False)
    assert "RUN_DIR" in restarted.stderr
    assert "has only 0 MiB of disk space" in restarted.stderr
    assert grid.available(1), "what ran goes on"
    said = [done.stderr for done in (status, created, revoked, refused, restarted)]
    grid.applctl("appliance", "drain")
    until(lambda: "appliance.record_not_written" in grid.log("proxy"), "the proxy could not write that down")
    assert not [one for one in (*said, grid.log("proxy")) if "Traceback" in one]
    grid.applctl("appliance", "undrain")

    (disk / "filler").unlink()
    assert grid.applctl("token", "create", "second").stdout.startswith("pwa_")
    assert names(grid) == ["second"]


def test_a_stopped_appliance_makes_no_token_on_a_full_disk_and_does_not_start(grid: Appliance, disk: Path) -> None:
    grid.down()
    fill(disk)
    created = grid.applctl("token", "create", "second", check=False)
    assert f"{grid.run_dir}/tokens.json: No space left on device" in created.stderr
    assert "second" not in grid.applctl("token", "list").stdout
    started = grid.applctl("up", "--no-setup", check=False)
    assert "has only 0 MiB of disk space" in started.stderr
    assert not any("Traceback" in done.stderr for done in (created, started))


def test_an_upload_to_a_full_disk_fails_for_its_own_session_alone(grid: Appliance, disk: Path, tmp_path: Path) -> None:
    upload = tmp_path / "upload.bin"
    upload.write_bytes(bytes(3 * 2**20))
    token = {"Authorization": f"Bearer {grid.applctl('token', 'create', 'uploader').stdout.split()[0]}"}
    with sync_playwright() as playwright:
        uploader, neighbour = (playwright.chromium.connect(grid.endpoint, headers=token).new_page() for _ in range(2))
        uploader.set_content("<input type=file>")
        fill(disk)
        with pytest.raises(Error, match="ENOSPC: no space left on device"):
            uploader.set_input_files("input", upload)
        assert [page.evaluate("6 * 7") for page in (uploader, neighbour)] == [42, 42]
        (disk / "filler").unlink()
        uploader.set_input_files("input", upload)
        assert uploader.evaluate("document.querySelector('input').files[0].size") == 3 * 2**20
