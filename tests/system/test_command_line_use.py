"""`applctl` as a client of the grid: pictures of pages, scripts that it runs, and measurements."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from tests.support.appliance import APPLCTL, Appliance
from tests.support.waiting import until


def size_of_png(file: Path) -> tuple[int, int]:
    """Return width and height of a PNG (its first chunk, IHDR)."""
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_screenshot_writes_the_picture_of_a_page(grid: Appliance, site: str, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    said = grid.applctl("screenshot", "--width", "640", "--height", "400", site, str(picture)).stdout
    assert "“A real page”" in said
    assert size_of_png(picture) == (640, 400)
    assert list(tmp_path.iterdir()) == [picture]


def test_screenshot_of_a_page_that_is_away_says_why_and_writes_no_file(grid: Appliance, tmp_path: Path) -> None:
    done = grid.applctl("screenshot", "http://localhost:1/", str(tmp_path / "page.jpg"), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: http://localhost:1/ cannot be opened: net::ERR_")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_run_gives_a_script_the_endpoint_and_passes_its_exit_code_on(grid: Appliance, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as p, p.chromium.connect(os.environ['PLAYWRIGHT_WS_ENDPOINT']) as browser:\n"
        "    print(browser.new_page().evaluate('6 * 7'), *sys.argv[1:])\n"
        "sys.exit(9)\n"
    )
    done = grid.applctl("run", str(script), "--flag", "x", check=False)
    assert (done.returncode, done.stdout) == (9, "42 --flag x\n"), done.stderr


def test_run_revokes_its_token_when_a_signal_ends_it(grid: Appliance, tmp_path: Path) -> None:
    grid.applctl("token", "create", "other")  # else the grid needs none
    try:
        started = tmp_path / "started"
        script = f"echo $PW_TEST_CONNECT_WS_ENDPOINT >{started}.new; mv {started}.new {started}; exec sleep 60"
        command = [APPLCTL, "run", "--", "sh", "-c", script]
        with subprocess.Popen(command, env=grid.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            until(started.exists, "the command runs")
            assert "/?token=pwa_" in started.read_text()
            assert "applctl-" in grid.applctl("token", "list").stdout
            run.send_signal(signal.SIGTERM)
            assert run.wait(30) == 128 + signal.SIGTERM
        assert "applctl-" not in grid.applctl("token", "list").stdout
    finally:
        grid.applctl("token", "revoke", "other")


@pytest.mark.parametrize("command", [["no-such-command"], [str(Path(os.devnull) / "x")]])
def test_run_says_that_there_is_no_such_command(grid: Appliance, command: list[str]) -> None:
    done = grid.applctl("run", *command, check=False)
    assert done.returncode in (126, 127)
    assert command[0] in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
