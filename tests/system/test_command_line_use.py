"""`applctl` as a client of the grid: pictures of pages, scripts that it runs, and measurements."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from appliance.grid.token_table import digest_of, valid
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
    def tokens() -> list[str]:
        return [one.name for one in valid(grid.state.tokens()).values() if one.name.startswith("applctl-")]

    grid.state.create_token(digest_of("a token that others need"), "other")  # else the grid needs none
    started = tmp_path / "started"
    script = f"echo $PW_TEST_CONNECT_WS_ENDPOINT >{started}.new; mv {started}.new {started}; exec sleep 60"
    command = [APPLCTL, "run", "--", "sh", "-c", script]
    with subprocess.Popen(command, env=grid.env) as run:
        until(started.exists, "the command runs")
        assert "/?token=pwa_" in started.read_text()
        assert len(tokens()) == 1
        run.send_signal(signal.SIGTERM)
        assert run.wait(30) == 128 + signal.SIGTERM
    assert not tokens()
    grid.state.revoke_token("other")


def test_bench_measures_sessions_and_says_how_many_slots_it_takes(grid: Appliance) -> None:
    done = grid.applctl("bench", "--sessions", "2", "--seconds", "1", "--isolation", "browser", "--json")
    assert done.stderr.startswith("Takes 2 of 5 slots for chromium ")
    results = json.loads(done.stdout)["results"]
    assert [(one["isolation"], one["at_a_time"]) for one in results] == [("browser", 1), ("browser", 2)]
    for one in results:
        assert one["sessions"] > 0
        assert one["failed"] == 0
        assert 0 < one["connect"]["median_ms"] < one["first_page"]["median_ms"]
        assert one["sessions_per_s"] == pytest.approx(one["sessions"] / one["seconds"], rel=0.01)


def test_ctrl_c_ends_bench_without_a_traceback(grid: Appliance) -> None:
    command = [APPLCTL, "bench", "--sessions", "2", "--seconds", "60"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=grid.env, process_group=0, **streams) as bench:  # type: ignore[call-overload]
        until(lambda: len(grid.state.sessions()) == 2, "it has its sessions")
        os.killpg(bench.pid, signal.SIGINT)
        _, said = bench.communicate(timeout=30)
    assert (bench.returncode, "Traceback" in said) == (130, False), said
    until(lambda: not grid.state.sessions(), "its sessions have ended")
